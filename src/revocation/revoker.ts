import type { Change } from "../keys/change.ts";
import type { Clocks } from "../system/clocks.ts";
import { withChildSpan } from "../system/tracing.ts";
import type { Barrier } from "./barrier.ts";
import type { ChangeBus } from "./change-bus.ts";
import type { CommitFacts, RevocationFallback } from "./revocation-fallback.ts";

export interface RevokerOptions {
  readonly bus: ChangeBus;
  readonly barrier: Pick<Barrier, "wait">;
  readonly fallback: RevocationFallback;
  readonly clocks: Clocks;
  /** Called at the end of each wait. */
  readonly onBarrier?: (outcome: "acknowledged" | "waited" | "failed", durationMs: number) => void;
}

/** The outcome of a change that every verifier obeys. */
export interface Settlement {
  readonly confirmed: number;
  readonly expired: number;
  readonly durationMs: number;
  readonly isInRevocationSet: boolean;
}

/** Announces committed changes, and waits until every verifier obeys them. */
export class Revoker {
  readonly #options: RevokerOptions;

  constructor(options: RevokerOptions) {
    this.#options = options;
  }

  /** Announces a change that no call waits for. Never rejects. */
  async announce(change: Change, facts?: CommitFacts): Promise<void> {
    await this.#options.fallback.record(change, facts);
    await this.#options.bus.push(change);
  }

  /**
   * Returns once no verifier can answer from before the change. Call it as soon as the commit is answered.
   *
   * @throws ClavigerError `STORAGE_UNAVAILABLE`, `REVOCATION_UNCONFIRMED`: the change stands, and a repeated call converges.
   */
  settle(change: Change, facts?: CommitFacts): Promise<Settlement> {
    return withChildSpan("claviger.barrier", () => this.#settle(change, facts));
  }

  async #settle(change: Change, facts?: CommitFacts): Promise<Settlement> {
    const { barrier, clocks, fallback, onBarrier } = this.#options;
    const committedMs = clocks.monotonicMs();
    try {
      // Together: only `confirm` needs the record, and it comes after the wait.
      const waiting = barrier.wait({ change, committedMs });
      const [passed, recorded] = await Promise.all([waiting, fallback.record(change, facts)]);
      const isInRevocationSet = await fallback.confirm(recorded, passed);
      onBarrier?.(passed.expired > 0 ? "waited" : "acknowledged", clocks.monotonicMs() - committedMs);
      const { confirmed, expired, durationMs } = passed;
      return { confirmed, expired, durationMs, isInRevocationSet };
    } catch (error) {
      onBarrier?.("failed", clocks.monotonicMs() - committedMs);
      throw error;
    }
  }
}
