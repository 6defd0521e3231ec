import { setTimeout as pause } from "node:timers/promises";
import type { Secret } from "../../keys/secret.ts";
import { systemTimers } from "../../system/node.ts";
import { checkOptions, FUNCTION, MILLISECONDS, OBJECT, type Rule, type Rules } from "../verifier/check-options.ts";
import { createListener } from "../verifier/listener.ts";
import { NoSecretError, readSecretText, WatchedFile } from "./watched-file.ts";

/**
 * The source of a key's secret:
 *
 * - the secret itself, which then never changes;
 * - a function, sync or async. It is called for each call, and once more after a refusal. It should answer from memory
 *   and refresh an old copy. Its error is not shown, because it may contain a secret; Connect's error has it as `cause`;
 * - a file, `fromFile(path)`.
 */
export type KeySource = string | (() => string | Promise<string>) | KeyFile;

/** A key whose secret may change while it is in use. */
export interface ChangingKey {
  /** The secret to use now. */
  current(): Promise<Secret>;
  /** The secret after the source was read again. */
  reread(): Promise<Secret>;
}

/** A file with a secret, which is read again at regular intervals. */
export interface KeyFile extends ChangingKey {
  /** Stops the regular reads. The last secret stays in use, and a refused call still reads. May be called twice. */
  close(): void;
}

export interface FromFileOptions {
  /**
   * Milliseconds between two reads of the file. Default 1000. A refused call reads the file by itself, so that the
   * interval only decides how many calls need a second attempt after the old secret has ended.
   */
  readonly everyMs?: number;
  /**
   * Called once for each problem of the file: when it is missing or bad from the start, or becomes so while its last
   * secret stays in use. Default: `process.emitWarning`.
   */
  readonly onProblem?: (error: Error) => void;
}

/**
 * A secret in a file of one line; white space around it is ignored. The file may be replaced at any time: by a rename, in
 * place, or by the symbolic links of a Kubernetes secret. The first call reads it, and reads go on until `close`. They do
 * not keep the process alive.
 *
 * @example
 * const file = fromFile("/var/run/secrets/claviger/key");
 * const transport = createGrpcTransport({ baseUrl, interceptors: [attachKey(file)] });
 * @throws TypeError without a path, and for a wrong or unknown option
 */
export function fromFile(path: string, options: FromFileOptions = {}): KeyFile {
  if (typeof path !== "string" || path === "")
    throw new TypeError("fromFile: the path is missing. Pass it as a string");
  checkOptions("fromFile", options, FILE_RULES);
  const { everyMs = 1000, onProblem = warn } = options;
  return new WatchedFile({
    path,
    everyMs,
    onProblem: createListener("onProblem", onProblem),
    timers: systemTimers,
    // `systemTimers` do not keep the process alive, and grpc-js lets a process end that waits for nothing else.
    pause,
  });
}

const FILE_RULES: Rules<FromFileOptions> = { everyMs: MILLISECONDS, onProblem: FUNCTION };

function warn(error: Error): void {
  process.emitWarning(error.message, "ClavigerWarning");
}

/** Accepts every form of a source. `openKeySource` checks whether a text can be a secret. */
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
 * @throws TypeError for a wrong source, and for a text that cannot be a secret
 */
export function openKeySource(source: KeySource): ChangingKey {
  if (!KEY_SOURCE.holds(source)) throw new TypeError(`the key source is missing or wrong. Pass ${KEY_SOURCE.right}`);
  if (typeof source === "string") return fixedKey(source);
  if (typeof source !== "function") return source;
  const ask = () => askFor(source);
  return { current: ask, reread: ask };
}

function fixedKey(text: string): ChangingKey {
  const secret = readSecretText(text);
  if (secret === undefined) {
    throw new TypeError("the key is not a secret. Pass the secret as it was shown, and nothing else");
  }
  const answer = async () => secret;
  return { current: answer, reread: answer };
}

async function askFor(source: () => string | Promise<string>): Promise<Secret> {
  let text: unknown;
  try {
    text = await source();
  } catch (cause) {
    throw new NoSecretError("the function that returns the key failed. Log its error and correct it", { cause });
  }
  const secret = typeof text === "string" ? readSecretText(text) : undefined;
  if (secret !== undefined) return secret;
  throw new NoSecretError("the function that returns the key returned no secret. Return one, and nothing else");
}
