/** The promise did not settle in time. Its work may continue. */
export class NotInTimeError extends Error {
  override readonly name = "NotInTimeError";

  constructor(timeoutMs: number) {
    super(`no answer within ${timeoutMs} ms`);
  }
}

/** Settles like `promise`, or rejects with `NotInTimeError` after `timeoutMs` milliseconds. */
export async function within<Value>(timeoutMs: number, promise: Promise<Value>): Promise<Value> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => late.reject(new NotInTimeError(timeoutMs)), timeoutMs);
  try {
    return await Promise.race([promise, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}

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
