import { unlessAborted } from "./unless-aborted.ts";

/** The same items, until the signal aborts: then whoever reads them gets its reason, also in the middle of waiting. */
export function severedBy<T>(items: AsyncIterable<T>, signal: AbortSignal): AsyncIterable<T> {
  return {
    [Symbol.asyncIterator]() {
      const inner = items[Symbol.asyncIterator]();
      // Whoever makes the items is told to stop, and not waited for: it may be waiting itself.
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
