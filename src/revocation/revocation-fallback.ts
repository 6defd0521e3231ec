import type { Change } from "../keys/change.ts";
import { ClavigerError } from "../keys/errors.ts";
import type { BarrierPassed } from "./judge.ts";
import type { RevocationSetStore } from "./revocation-set.ts";

/** Facts that a change's own statement has read for the fallback. Other code passes them on and does not look inside. */
export interface CommitFacts {
  /** The marker of the revocation set that is valid at the change. */
  readonly setMarker?: string;
}

/** A change as the fallback has recorded it. */
export interface RecordedChange {
  readonly change: Change;
  /** The marker of the set that holds the change; undefined if no set holds it for certain. */
  readonly marker: string | undefined;
}

/** The part of a revocation for verifiers that may answer while the database is away. */
export interface RevocationFallback {
  /** Records a committed change. Never rejects. */
  record(change: Change, facts?: CommitFacts): Promise<RecordedChange>;
  /**
   * The last step of a revocation: returns whether the revocation set holds the change, as far as a verifier uses it.
   *
   * @throws ClavigerError `REVOCATION_UNCONFIRMED` if a verifier could still answer from before the change.
   */
  confirm(recorded: RecordedChange, passed: BarrierPassed): Promise<boolean>;
}

export interface RevocationSetWriterOptions {
  /** Undefined without Redis. */
  readonly store: RevocationSetStore | undefined;
  /** Reads the marker that is valid in the database now. */
  readonly readMarker: () => Promise<string>;
}

/**
 * The writing half of the fallback: keeps the revocation set. It writes wherever there is Redis, because another node
 * of the cluster may use the set.
 */
export class RevocationSetWriter implements RevocationFallback {
  readonly #options: RevocationSetWriterOptions;

  constructor(options: RevocationSetWriterOptions) {
    this.#options = options;
  }

  /** The marker is read with the change, or after it: a marker that replaces it comes with a floor that covers the change. */
  async record(change: Change, { setMarker }: CommitFacts = {}): Promise<RecordedChange> {
    const { store, readMarker } = this.#options;
    const { keyIds, revision } = change;
    if (store?.state() === undefined) return { change, marker: undefined };
    try {
      const marker = setMarker ?? (await readMarker());
      if (keyIds !== "all") {
        return { change, marker: (await store.write(marker, keyIds, revision)) ? marker : undefined };
      }
      await store.trim(marker, revision);
      return { change, marker };
    } catch {
      return { change, marker: undefined };
    }
  }

  async confirm(recorded: RecordedChange, passed: BarrierPassed): Promise<boolean> {
    const { change } = recorded;
    if (!passed.usesRevocationSet) return false;
    const isWritten = await this.#holds(recorded.marker === undefined ? await this.record(change) : recorded);
    if (isWritten || passed.isAcknowledgedByAll) return isWritten;
    throw new ClavigerError(
      "REVOCATION_UNCONFIRMED",
      "the change is committed, but the revocation set does not confirm that it holds the change. Repeat the call",
      { metadata: { revision: String(change.revision) } },
    );
  }

  /** Removes members of changes up to `floor`. */
  async trim(floor: number): Promise<void> {
    const { store, readMarker } = this.#options;
    if (store?.state() !== undefined) await store.trim(await readMarker(), floor);
  }

  async #holds({ change, marker }: RecordedChange): Promise<boolean> {
    const { store } = this.#options;
    if (store === undefined || marker === undefined) return false;
    // Too many keys to name are covered by the floor; no key has the id "all".
    const keyIds = change.keyIds === "all" ? ["all"] : change.keyIds;
    return store.holds(marker, keyIds, change.revision).catch(() => false);
  }
}
