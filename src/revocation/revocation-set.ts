import { ClavigerError } from "../keys/errors.ts";
import type { KnownSecret } from "../keys/known-secret.ts";
import type { Clocks, Moment, Random } from "../system/clocks.ts";
import type { LossFallback } from "../verify/verifier.ts";
import type { Registered } from "./lease-registry.ts";
import type { RevocationSetStore } from "./revocation-set-store.ts";

export interface RevocationSetOptions {
  readonly store: RevocationSetStore;
  /** Replaces the valid marker in the database if it still is `seen`. Returns the last revision if it was replaced. */
  readonly replaceMarker: (seen: string, marker: string) => Promise<number | undefined>;
  readonly random: Random;
  readonly clocks: Clocks;
  readonly appliedRevision: () => number;
  /** Whether the database is known to be unreachable. */
  readonly isAway: () => boolean;
  /** Milliseconds after the last grant during which the verifier may answer from cached entries. */
  readonly lastsMs: number;
}

/**
 * Confirms cached entries while the database is unreachable. The set holds the revision of every change after its
 * `floor`. A set is valid only if its marker equals the marker in the database and names the running Redis process. The
 * database orders replacements of the marker with all changes. A set that was flushed, lost, restored or replaced has
 * another marker.
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
   * Called after each grant. A Redis connection is trusted only after a renewal that started while it was already open:
   * one whose predecessor was answered on the same connection.
   */
  onGranted({ setMarker }: Registered, since: Moment): void {
    const state = this.#options.store.state();
    this.#since = since;
    const granted = state === undefined ? undefined : { connection: state.connection, setMarker };
    this.#trusted = granted !== undefined && granted.connection === this.#granted?.connection ? granted : undefined;
    this.#granted = granted;
    if (state !== undefined) void this.#mend(state.runId, setMarker);
  }

  /** @throws ClavigerError `LEASE_UNAVAILABLE` unless the set shows that the entry is still current. */
  async confirm({ keyId, revision }: KnownSecret): Promise<void> {
    const { store, clocks, appliedRevision, lastsMs } = this.#options;
    const trusted = this.#trusted;
    const { monotonicMs, wallMs } = this.#since;
    // Either clock ends it: one of them may not count a suspension (docs/protocol/revocation.md#r11).
    const isOver = Math.max(clocks.monotonicMs() - monotonicMs, clocks.wallMs() - wallMs) >= lastsMs;
    if (trusted === undefined || isOver || store.state()?.connection !== trusted.connection) throw undecided();
    const seen = await store.look(keyId).catch((cause: unknown) => {
      throw undecided(cause);
    });
    const holds = seen.marker === trusted.setMarker && appliedRevision() >= seen.floor && revision >= seen.member;
    if (!holds || store.state()?.connection !== trusted.connection) throw undecided();
  }

  /** Replaces the set if its marker is not the valid one. */
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
      // The next grant tries again. Until then no verifier trusts the set.
    } finally {
      this.#mending = false;
    }
  }
}

function undecided(cause?: unknown): ClavigerError {
  return new ClavigerError(
    "LEASE_UNAVAILABLE",
    "storage does not answer, and the revocation set cannot confirm that the key is still valid. Retry in a moment",
    { cause },
  );
}
