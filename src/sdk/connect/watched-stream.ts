import type { Interceptor, StreamRequest, StreamResponse } from "@connectrpc/connect";
import { explainedError } from "../../wire/errors.ts";
import { SECRET_RETIRES } from "../attach/retirement.ts";
import type { Recheck } from "../protect/guard.ts";
import { type Principal, retirementOf } from "../protect/principal.ts";
import { type WatchSettings, watchKey } from "../protect/watch-key.ts";
import { unlessAborted } from "./keyed-call.ts";

interface WatchedStream {
  readonly next: ReturnType<Interceptor>;
  readonly request: StreamRequest;
  readonly principal: Principal;
  readonly recheck: Recheck;
}

/**
 * Runs a stream for as long as its key is good. When the key dies, the signal of the call aborts, the reads of the handler
 * and of the caller end with the refusal, and later messages of the handler are not sent.
 */
export async function runWatched(stream: WatchedStream, settings: WatchSettings): Promise<StreamResponse> {
  const { next, request, recheck } = stream;
  const cut = new AbortController();
  let known = stream.principal;
  const watch = watchKey(recheck, settings, {
    onGood: (principal) => {
      known = principal;
    },
    onDead: (refusal) => cut.abort(explainedError(refusal)),
  });
  // Connect aborts the signal at the end of every call, also after a success.
  if (request.signal.aborted) watch.stop();
  request.signal.addEventListener("abort", () => watch.stop(), { once: true });

  const watched: StreamRequest = {
    ...request,
    signal: AbortSignal.any([request.signal, cut.signal]),
    message: severedBy(request.message, cut.signal),
  };
  const response = await unlessAborted(cut.signal, () => next(watched));
  if (!response.stream)
    throw new Error("an interceptor answered a stream with a unary response. Correct the other interceptors");
  return { ...response, message: endingWith(severedBy(response.message, cut.signal), sendRetirement) };

  function sendRetirement(): void {
    watch.stop();
    const retires = retirementOf(known);
    if (retires !== undefined && response.stream) response.trailer.set(SECRET_RETIRES, retires);
  }
}

/** The same items. `end` runs after the last, and when reading fails or stops early. */
async function* endingWith<T>(items: AsyncIterable<T>, end: () => void): AsyncIterable<T> {
  try {
    yield* items;
  } finally {
    end();
  }
}

/** The same items until the signal aborts; then the reader gets its reason, also while it waits for an item. */
function severedBy<T>(items: AsyncIterable<T>, signal: AbortSignal): AsyncIterable<T> {
  return {
    [Symbol.asyncIterator]() {
      const inner = items[Symbol.asyncIterator]();
      // The producer is asked to stop, but not awaited, because it may be waiting itself.
      const stop = async () => void (await inner.return?.());
      signal.addEventListener("abort", () => void stop().catch(() => {}), { once: true });
      return {
        next: () => unlessAborted(signal, () => inner.next()),
        return: async (value) => (await inner.return?.(value)) ?? { done: true, value },
        throw: (error) => inner.throw?.(error) ?? Promise.reject(error),
      };
    },
  };
}
