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
