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
