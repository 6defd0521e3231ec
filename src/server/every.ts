/** Does `work` every `periodMs`, never twice at once, until stopped; the first time after one period. */
export function every(periodMs: number, work: () => Promise<void>): { stop(): void } {
  let busy = false;
  const timer = setInterval(async () => {
    if (busy) return;
    busy = true;
    await work().finally(() => {
      busy = false;
    });
  }, periodMs);
  return { stop: () => clearInterval(timer) };
}
