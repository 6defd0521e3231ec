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
  /** Undefined where there is no Redis. */
  readonly set: RevocationSetStore | undefined;
  readonly clocks: Clocks;
  /** The marker of the set that is valid, as the database says now. */
  readonly readSetMarker: () => Promise<string>;
  /** Told how long each wait took, and how it ended. */
  readonly onBarrier?: (outcome: "acknowledged" | "waited" | "failed", durationMs: number) => void;
}

/** How a change became obeyed everywhere. */
export interface Settlement {
  readonly confirmed: number;
  readonly expired: number;
  readonly durationMs: number;
  readonly isInRevocationSet: boolean;
}

/** Makes committed changes known, and waits until they are obeyed. */
export class Revoker {
  readonly #options: RevokerOptions;

  constructor(options: RevokerOptions) {
    this.#options = options;
  }

  /** Tells everybody; for a change that nobody waits for. Never rejects. `setMarker` as for `settle`. */
  async announce(change: Change, setMarker?: string): Promise<void> {
    await this.#write(change, setMarker);
    await this.#options.bus.push(change);
  }

  /**
   * Returns once no verifier can answer from before the change. Call it as soon as the commit is answered, with the
   * marker of the revocation set that the change itself has read, if it made one.
   *
   * @throws ClavigerError `STORAGE_UNAVAILABLE`, `REVOCATION_UNCONFIRMED`: the change stands, and a repetition converges.
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

  /** The marker is read with the change, or after: one that replaces it comes with a floor that covers the change. */
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

  /** The last step: whoever answers from the set while the database is away must find the change in it. */
  async #confirm(change: Change, passed: BarrierPassed, written: string | undefined): Promise<boolean> {
    if (!passed.usesRevocationSet) return false;
    const isWritten = await this.#isInSet(change, written ?? (await this.#write(change)));
    if (isWritten || passed.isAcknowledgedByAll) return isWritten;
    throw new ClavigerError(
      "REVOCATION_UNCONFIRMED",
      "the change is made, but the revocation set could not be shown to hold it. Repeat the call: it converges",
      { metadata: { revision: String(change.revision) } },
    );
  }

  async #isInSet({ keyIds, revision }: Change, marker: string | undefined): Promise<boolean> {
    const { set } = this.#options;
    if (set === undefined || marker === undefined) return false;
    // Of too many to name, the floor tells; no key is called "all".
    return set.holds(marker, keyIds === "all" ? ["all"] : keyIds, revision).catch(() => false);
  }
}
