import { Code, ConnectError, type Interceptor } from "@connectrpc/connect";
import type { CallKey } from "../attach/attached-key.ts";
import { SECRET_RETIRES } from "../attach/retirement.ts";
import { unlessAborted } from "./unless-aborted.ts";

/** How to send a request: what an interceptor of Connect is given. */
export type Next = ReturnType<Interceptor>;

/**
 * The key of a call that is about to begin. A source is somebody else's code, or a disk: no call waits for it beyond its
 * deadline.
 *
 * @throws ConnectError `UNAVAILABLE` if there is no secret; what the signal says if it aborts first
 */
export async function begin(signal: AbortSignal, ask: () => Promise<CallKey>): Promise<CallKey> {
  try {
    return await unlessAborted(signal, ask);
  } catch (error) {
    if (signal.aborted) throw error;
    const message = error instanceof Error ? error.message : "there is no secret to call with";
    throw new ConnectError(message, Code.Unavailable, undefined, undefined, error);
  }
}

/** Returns if a call that ended with `error` is to be sent again, and throws the error otherwise. */
export async function renewOrThrow(call: CallKey, signal: AbortSignal, error: unknown): Promise<void> {
  if (!(error instanceof ConnectError)) throw error;
  if (error.code !== Code.Unauthenticated) {
    // An error has headers and trailers in one.
    call.answered(error.metadata.get(SECRET_RETIRES));
    throw error;
  }
  if (!(await unlessAborted(signal, () => call.renew()))) throw error;
}
