import { setTimeout as pause } from "node:timers/promises";
import type { Secret } from "../../keys/secret.ts";
import { systemTimers } from "../../system/node.ts";
import { checkOptions, FUNCTION, MILLISECONDS, OBJECT, type Rule, type Rules } from "../verifier/check-options.ts";
import { createListener } from "../verifier/listener.ts";
import { NoSecretError, readSecretText, WatchedFile } from "./watched-file.ts";

/**
 * Where the secret of a key comes from:
 *
 * - the secret itself, which then never changes;
 * - a function, sync or async, that is asked for each call, and once more when a call was refused: let it answer from
 *   memory, and look anew at least when its own copy is old. What it throws is not shown, since it may hold a secret; an
 *   error of Connect has it as its `cause`;
 * - a file, `fromFile(path)`.
 */
export type KeySource = string | (() => string | Promise<string>) | KeyFile;

/** A key whose secret may change while it is in use. */
export interface ChangingKey {
  /** The secret to use now. */
  current(): Promise<Secret>;
  /** The secret after a new look at where it comes from. */
  reread(): Promise<Secret>;
}

/** A file with a secret, which is looked at again and again. */
export interface KeyFile extends ChangingKey {
  /** Stops looking at the file. What was read last stays in use, and a refused call still looks. Twice is fine. */
  close(): void;
}

export interface FromFileOptions {
  /**
   * Milliseconds between two looks at the file. Default 1000: a call that is refused meanwhile looks by itself, so that
   * this only decides how many calls need a second attempt after the old secret has ended.
   */
  readonly everyMs?: number;
  /**
   * Called when the file is missing or bad: from the start, or while its last secret stays in use. Once for each way of
   * being bad. Default: `process.emitWarning`.
   */
  readonly onProblem?: (error: Error) => void;
}

/**
 * A secret in a file: one line; white space around it does not matter. It may be replaced at any time, by a rename, in
 * place, or by the symbolic links of a Kubernetes secret. It is read when the first call needs it, and looked at until
 * closed; that does not keep the process alive.
 *
 * @example
 * const file = fromFile("/var/run/secrets/claviger/key");
 * const transport = createGrpcTransport({ baseUrl, interceptors: [attachKey(file)] });
 * @throws TypeError without a path, for an option that is wrong, and for one whose name is unknown
 */
export function fromFile(path: string, options: FromFileOptions = {}): KeyFile {
  if (typeof path !== "string" || path === "") throw new TypeError("fromFile: the path is missing. Pass it as a text");
  checkOptions("fromFile", options, FILE_RULES);
  const { everyMs = 1000, onProblem = warn } = options;
  return new WatchedFile({
    path,
    everyMs,
    onProblem: createListener("onProblem", onProblem),
    timers: systemTimers,
    // Not `systemTimers`, which do not keep the process alive: grpc-js lets a process end that waits for nothing else.
    pause,
  });
}

const FILE_RULES: Rules<FromFileOptions> = { everyMs: MILLISECONDS, onProblem: FUNCTION };

function warn(error: Error): void {
  process.emitWarning(error.message, "ClavigerWarning");
}

/** Every form of a source; whether a text can be a secret is looked at when it is opened. */
export const KEY_SOURCE: Rule = {
  right: "a secret, a function that returns one, or fromFile(path)",
  holds: (value) =>
    typeof value === "string" ||
    FUNCTION.holds(value) ||
    (OBJECT.holds(value) &&
      FUNCTION.holds((value as Partial<ChangingKey>).current) &&
      FUNCTION.holds((value as Partial<ChangingKey>).reread)),
};

/**
 * Opens any source. Both methods of the key reject with `NoSecretError` if there is no secret.
 *
 * @throws TypeError for what is no source, and for a text that can be no secret
 */
export function openKeySource(source: KeySource): ChangingKey {
  if (!KEY_SOURCE.holds(source)) throw new TypeError(`there is no key to call with. Pass ${KEY_SOURCE.right}`);
  if (typeof source === "string") return fixedKey(source);
  if (typeof source !== "function") return source;
  const ask = () => askFor(source);
  return { current: ask, reread: ask };
}

function fixedKey(text: string): ChangingKey {
  const secret = readSecretText(text);
  if (secret === undefined) {
    throw new TypeError("the text given as a key is no secret: give the secret as it was shown, and nothing else");
  }
  const answer = async () => secret;
  return { current: answer, reread: answer };
}

async function askFor(source: () => string | Promise<string>): Promise<Secret> {
  let text: unknown;
  try {
    text = await source();
  } catch (cause) {
    throw new NoSecretError("the function given as a key failed: log what it throws, and mend it", { cause });
  }
  const secret = typeof text === "string" ? readSecretText(text) : undefined;
  if (secret !== undefined) return secret;
  throw new NoSecretError("the function given as a key returned no secret: have it return one, and nothing else");
}
