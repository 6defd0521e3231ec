import { ClavigerError } from "../keys/errors.ts";
import type { KnownSecret } from "../keys/known-secret.ts";
import type { Clocks, Moment } from "../system/clocks.ts";
import type { Random } from "../system/random.ts";
import type { LossFallback } from "../verify/verifier.ts";
import type { Registered } from "./lease-registry.ts";
import type { RevocationSetStore } from "./revocation-set-store.ts";

export interface RevocationSetOptions {
  readonly store: RevocationSetStore;
  /** Makes a marker the valid one in the database if `seen` still is; returns the last revision if it did. */
  readonly replaceMarker: (seen: string, marker: string) => Promise<number | undefined>;
  readonly random: Random;
  readonly clocks: Clocks;
  readonly appliedRevision: () => number;
  /** Whether the database is known to be away. */
  readonly isAway: () => boolean;
  /** Milliseconds after the last grant in which entries may still be answered from. */
  readonly lastsMs: number;
}

/**
 * What a verifier may answer from while the database is away: the set holds the revision of every change since it
 * began (`floor`). Its marker is valid only as the database has it, which serialises new ones with all changes, and
 * only on the server process that it names: a set that was flushed, lost, restored or replaced has another one.
 */
export class RevocationSet implements LossFallback {
  readonly #options: RevocationSetOptions;
  #granted: { readonly connection: number; readonly setMarker: string } | undefined;
  #trusted: { readonly connection: number; readonly setMarker: string } | undefined;
  #since: Moment = { monotonicMs: Number.NEGATIVE_INFINITY, wallMs: Number.NEGATIVE_INFINITY };
  #mending = false;

  constructor(options: RevocationSetOptions) {
    this.#options = options;
  }

  isAway(): boolean {
    return this.#options.isAway();
  }

  /**
   * Told of each grant. A connection counts from the first renewal that began after it was made: that is one whose
   * predecessor was answered on the same connection.
   */
  onGranted({ setMarker }: Registered, since: Moment): void {
    const state = this.#options.store.state();
    this.#since = since;
    const granted = state === undefined ? undefined : { connection: state.connection, setMarker };
    this.#trusted = granted !== undefined && granted.connection === this.#granted?.connection ? granted : undefined;
    this.#granted = granted;
    if (state !== undefined) void this.#mend(state.runId, setMarker);
  }

  /** @throws ClavigerError `LEASE_UNAVAILABLE` unless the entry is as it was before the database went away. */
  async confirm({ keyId, revision }: KnownSecret): Promise<void> {
    const { store, clocks, appliedRevision, lastsMs } = this.#options;
    const trusted = this.#trusted;
    const { monotonicMs, wallMs } = this.#since;
    // By whichever clock says so first, as a lease: one of them may not count a sleep.
    const isOver = Math.max(clocks.monotonicMs() - monotonicMs, clocks.wallMs() - wallMs) >= lastsMs;
    if (trusted === undefined || isOver || store.state()?.connection !== trusted.connection) throw undecided();
    const seen = await store.look(keyId).catch((cause: unknown) => {
      throw undecided(cause);
    });
    const holds = seen.marker === trusted.setMarker && appliedRevision() >= seen.floor && revision >= seen.member;
    if (!holds || store.state()?.connection !== trusted.connection) throw undecided();
  }

  /** Begins the set anew where it is not the one that the database calls valid. */
  async #mend(runId: string, valid: string): Promise<void> {
    if (this.#mending) return;
    this.#mending = true;
    const { store, replaceMarker, random } = this.#options;
    try {
      if (valid.startsWith(`${runId}:`) && (await store.readMarker()) === valid) return;
      const marker = `${runId}:${Buffer.from(random(12)).toString("hex")}`;
      const floor = await replaceMarker(valid, marker);
      if (floor !== undefined) await store.initialise(marker, floor);
    } catch {
      // The next grant tries again; until then nobody trusts the set.
    } finally {
      this.#mending = false;
    }
  }
}

function undecided(cause?: unknown): ClavigerError {
  return new ClavigerError(
    "LEASE_UNAVAILABLE",
    "storage does not answer, and the revocation set cannot say whether the key still holds. Retry in a moment",
    { cause },
  );
}
