import { Code, ConnectError, type Interceptor } from "@connectrpc/connect";
import type { CallKey } from "../attach/attached-key.ts";
import { SECRET_RETIRES } from "../attach/retirement.ts";

/** Sends a request: the function that Connect passes to an interceptor. */
export type Next = ReturnType<Interceptor>;

/**
 * The key of a call that is about to begin. A source is code of the application or a disk, so that no call waits for it
 * beyond its deadline.
 *
 * @throws ConnectError `UNAVAILABLE` if there is no secret; the reason of the signal if it aborts first
 */
export async function begin(signal: AbortSignal, ask: () => Promise<CallKey>): Promise<CallKey> {
  try {
    return await unlessAborted(signal, ask);
  } catch (error) {
    if (signal.aborted) throw error;
    const message = error instanceof Error ? error.message : "the key source gave no secret";
    throw new ConnectError(message, Code.Unavailable, undefined, undefined, error);
  }
}

/** Returns if a call that ended with `error` must be sent again; throws the error otherwise. */
export async function renewOrThrow(call: CallKey, signal: AbortSignal, error: unknown): Promise<void> {
  if (!(error instanceof ConnectError)) throw error;
  if (error.code !== Code.Unauthenticated) {
    // The metadata of an error has both headers and trailers.
    call.answered(error.metadata.get(SECRET_RETIRES));
    throw error;
  }
  if (!(await unlessAborted(signal, () => call.renew()))) throw error;
}

/** The result of `work`, or the reason of the signal if it aborts first. */
export function unlessAborted<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    // Promise.race would keep every item, because the promise that it races with lives as long as the stream.
    const abort = () => reject(signal.reason);
    if (signal.aborted) {
      abort();
      return;
    }
    signal.addEventListener("abort", abort, { once: true });
    const done = () => signal.removeEventListener("abort", abort);
    work().then(resolve, reject).finally(done);
  });
}
