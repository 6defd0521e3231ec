/**
 * Does `work` every `periodMs`, never twice at once, until stopped; the first time after one period. `work` must not
 * reject, as that of an `Outage` does not: no code hears it, and the process would end.
 */
export function every(periodMs: number, work: () => Promise<void>): { stop(): void } {
  let isBusy = false;
  const done = () => {
    isBusy = false;
  };
  const timer = setInterval(() => {
    if (isBusy) return;
    isBusy = true;
    void work().finally(done);
  }, periodMs);
  return { stop: () => clearInterval(timer) };
}
