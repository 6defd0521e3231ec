import type { Clocks, Timers } from "../../system/clocks.ts";
import type { Trouble } from "./trouble.ts";
import { unasked } from "./wire.ts";

export interface UntilReadyOptions {
  readonly timeoutMs: number;
  readonly isReady: () => boolean;
  /** Asks a server. Rejects if a further attempt is no use. */
  readonly reach: () => Promise<"reached" | Trouble>;
  readonly clocks: Pick<Clocks, "monotonicMs">;
  readonly timers: Timers;
  readonly pause: (ms: number) => Promise<void>;
}

/** Milliseconds between two attempts to reach a server. */
const RETRY_MS = 200;

/**
 * Waits until the verifier is ready or a server answers.
 *
 * @throws ConnectError `UNAVAILABLE` after `timeoutMs`, with the last cause
 */
export async function untilReady(options: UntilReadyOptions): Promise<void> {
  const { timeoutMs, isReady, reach, clocks, timers, pause } = options;
  const endMs = clocks.monotonicMs() + timeoutMs;
  const { promise: late, resolve: giveUp } = Promise.withResolvers<"late">();
  const timer = timers.after(timeoutMs, () => giveUp("late"));
  let last: Trouble | undefined;
  try {
    while (!isReady()) {
      const outcome = await Promise.race([reach(), late]);
      if (outcome === "reached") return;
      if (outcome !== "late") last = outcome;
      if (outcome === "late" || clocks.monotonicMs() >= endMs) throw notReady(timeoutMs, last);
      await pause(RETRY_MS);
    }
  } finally {
    timer.cancel();
  }
}

function notReady(timeoutMs: number, last: Trouble | undefined): Error {
  const why = last?.message ?? "no server has answered yet. Check url, and that Claviger runs";
  const code = last?.code ?? "CLAVIGER_SERVER_UNREACHABLE";
  return unasked({ code, message: `not ready within ${timeoutMs} ms: ${why}`, isPermanent: false }, undefined);
}
