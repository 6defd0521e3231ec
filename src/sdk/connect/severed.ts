/** The same items, until the signal aborts: then whoever reads them gets its reason, also in the middle of waiting. */
export function severedBy<T>(items: AsyncIterable<T>, signal: AbortSignal): AsyncIterable<T> {
  return {
    [Symbol.asyncIterator]() {
      const inner = items[Symbol.asyncIterator]();
      // Whoever makes the items is told to stop, and not waited for: it may be waiting itself.
      signal.addEventListener("abort", () => void inner.return?.().catch(() => {}), { once: true });
      return {
        next: () => unlessAborted(signal, () => inner.next()),
        return: async (value) => (await inner.return?.(value)) ?? { done: true, value },
        throw: (error) => inner.throw?.(error) ?? Promise.reject(error),
      };
    },
  };
}

/** What `work` gives, or the reason of the signal if that aborts before. */
export function unlessAborted<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    // Not Promise.race: against one promise that lives as long as the stream, it keeps every item.
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
