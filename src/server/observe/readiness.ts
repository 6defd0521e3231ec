import type { Logger } from "pino";
import type { Storage } from "../../postgres/storage.ts";
import { every } from "../../system/timers.ts";

export interface ReadinessOptions {
  readonly storage: Pick<Storage, "probe" | "reconnect">;
  readonly log: Logger;
  /** Whose health it is, for the log. */
  readonly service: string;
  readonly probeEveryMs: number;
  readonly probeTimeoutMs: number;
  /** Called at the first answer, and whenever the answer changes. */
  readonly onChange: (ready: boolean) => void;
}

type Answer = "ready" | "refuses" | "hangs";

/**
 * Asks storage again and again whether it answers. A connection that did and now hangs is given up for another: it may
 * hang for ever. One that is being opened is waited for, as long as that may take: where all are slow to open, giving
 * up would leave none.
 */
export function watchStorage(options: ReadinessOptions): { stop(): void } {
  const { storage, log, service } = options;
  let ready: boolean | undefined;
  let hasAnswered = false;
  let probing: Promise<Answer> | undefined;
  return every(options.probeEveryMs, async () => {
    probing ??= probe(storage);
    const answer = await within(options.probeTimeoutMs, probing);
    if (answer === "hangs" && hasAnswered) storage.reconnect();
    if (answer !== "hangs" || hasAnswered) probing = undefined;
    hasAnswered = answer === "ready";
    if (ready === hasAnswered) return;
    ready = hasAnswered;
    // Why it does not is in the log of outages.
    log.info({ event: "storage", service, answer }, ready ? "storage answers" : "storage does not answer");
    options.onChange(ready);
  });
}

function probe(storage: ReadinessOptions["storage"]): Promise<Answer> {
  return storage.probe().then(
    () => "ready",
    () => "refuses",
  );
}

async function within(timeoutMs: number, answer: Promise<Answer>): Promise<Answer> {
  const late = Promise.withResolvers<Answer>();
  // A turn later: what has come while this process was busy is read first.
  const timer = setTimeout(() => setImmediate(() => late.resolve("hangs")), timeoutMs);
  try {
    return await Promise.race([answer, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}
