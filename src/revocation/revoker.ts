import type { Change } from "../keys/change.ts";
import { ClavigerError } from "../keys/errors.ts";
import type { Clocks } from "../system/clocks.ts";
import type { Barrier } from "./barrier.ts";
import type { ChangeBus } from "./change-bus.ts";
import type { BarrierPassed } from "./judge.ts";
import type { RevocationSetStore } from "./revocation-set-store.ts";

export interface RevokerOptions {
  readonly bus: ChangeBus;
  readonly barrier: Pick<Barrier, "wait">;
  /** Undefined without Redis. */
  readonly set: RevocationSetStore | undefined;
  readonly clocks: Clocks;
  /** Reads the marker of the valid set from the database. */
  readonly readSetMarker: () => Promise<string>;
  /** Called after each wait, with its outcome and duration. */
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

  /** Pushes a change without waiting for acknowledgements. Never rejects. `setMarker` is that of `settle`. */
  async announce(change: Change, setMarker?: string): Promise<void> {
    await this.#write(change, setMarker);
    await this.#options.bus.push(change);
  }

  /**
   * Returns once no verifier can answer from before the change. Call it as soon as the commit is answered.
   * `setMarker` is the marker of the revocation set that the transaction of the change has read, if it read one.
   *
   * @throws ClavigerError `STORAGE_UNAVAILABLE`, `REVOCATION_UNCONFIRMED`: the change stands, and a repeated call waits
   * again.
   */
  async settle(change: Change, setMarker?: string): Promise<Settlement> {
    const { barrier, clocks, onBarrier } = this.#options;
    const committedMs = clocks.monotonicMs();
    const marker = await this.#write(change, setMarker);
    try {
      const passed = await barrier.wait({ change, committedMs });
      const isInRevocationSet = await this.#confirm(change, passed, marker);
      onBarrier?.(passed.expired > 0 ? "waited" : "acknowledged", clocks.monotonicMs() - committedMs);
      return { ...passed, isInRevocationSet };
    } catch (error) {
      onBarrier?.("failed", clocks.monotonicMs() - committedMs);
      throw error;
    }
  }

  /** The marker is read with the change or after it. A marker that replaces it has a floor that covers the change. */
  async #write({ keyIds, revision }: Change, setMarker?: string): Promise<string | undefined> {
    const { set, readSetMarker } = this.#options;
    if (set?.state() === undefined) return undefined;
    try {
      const marker = setMarker ?? (await readSetMarker());
      if (keyIds !== "all") return (await set.write(marker, keyIds, revision)) ? marker : undefined;
      await set.trim(marker, revision);
      return marker;
    } catch {
      return undefined;
    }
  }

  /** Ensures that a verifier that answers from the set while the database is unreachable finds the change in it. */
  async #confirm(change: Change, passed: BarrierPassed, written: string | undefined): Promise<boolean> {
    if (!passed.usesRevocationSet) return false;
    const isWritten = await this.#isInSet(change, written ?? (await this.#write(change)));
    if (isWritten || passed.isAcknowledgedByAll) return isWritten;
    throw new ClavigerError(
      "REVOCATION_UNCONFIRMED",
      "the change is committed, but the revocation set does not confirm that it holds the change. Repeat the call",
      { metadata: { revision: String(change.revision) } },
    );
  }

  async #isInSet({ keyIds, revision }: Change, marker: string | undefined): Promise<boolean> {
    const { set } = this.#options;
    if (set === undefined || marker === undefined) return false;
    // A change of too many keys is in the set once the floor covers it. The member "all" never exists.
    return set.holds(marker, keyIds === "all" ? ["all"] : keyIds, revision).catch(() => false);
  }
}
