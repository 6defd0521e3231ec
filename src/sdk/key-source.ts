import { setTimeout as pause } from "node:timers/promises";
import type { Secret } from "../keys/secret.ts";
import { systemTimers } from "./clock.ts";
import { NoSecretError } from "./no-secret-error.ts";
import { readSecretText } from "./secret-text.ts";
import { WatchedFile } from "./watched-file.ts";

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
   * Told when the file goes missing or bad while in use; the last secret stays in use. Once for each way of being bad.
   * Default: `process.emitWarning`.
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
 */
export function fromFile(path: string, options: FromFileOptions = {}): KeyFile {
  return new WatchedFile({
    path,
    everyMs: options.everyMs ?? 1000,
    onProblem: options.onProblem ?? ((error) => process.emitWarning(error.message, "ClavigerWarning")),
    timers: systemTimers,
    // Not `systemTimers`, which do not keep the process alive: grpc-js lets a process end that waits for nothing else.
    pause,
  });
}

/**
 * The key of any source. Both of its methods reject with `NoSecretError` if there is no secret.
 *
 * @throws TypeError for a text that can be no secret
 */
export function openKeySource(source: KeySource): ChangingKey {
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
