import type { Logger } from "pino";
import { monotonicMs } from "./clock.ts";

/** How long the same reason is not repeated, in milliseconds. */
const QUIET_MS = 60_000;
/** Reasons that are remembered; some hold a number, such as a process id. */
const MOST_REASONS = 100;

/** Logs why Postgres could not be asked, each reason once a minute: the calls themselves say only that it could not. */
export function logOutages(log: Logger): (reason: string) => void {
  const quietUntil = new Map<string, number>();
  return (reason) => {
    const now = monotonicMs();
    if (now < (quietUntil.get(reason) ?? 0)) return;
    if (quietUntil.size >= MOST_REASONS) quietUntil.clear();
    quietUntil.set(reason, now + QUIET_MS);
    log.warn({ event: "storage.away", reason }, "Postgres could not be asked");
  };
}
