import type { CachedSecret } from "../keys/cached-secret.ts";
import { ClavigerError } from "../keys/errors.ts";
import type { Clocks, Moment, Random } from "../system/clocks.ts";
import type { LossFallback } from "../verify/verifier.ts";
import type { Registered } from "./lease-registry.ts";

/**
 * The revocation set in one Redis: it maps a key id to the revision of its last change, beside the set's `marker` and
 * `floor`. Every operation is one command or script, has a time-out, is sent at most once, and rejects if its outcome
 * is unknown.
 */
export interface RevocationSetStore {
  /**
   * The present connection; undefined while there is none. `connection` counts connections: results from an earlier
   * connection are void. `runId` names the server process.
   */
  state(): { readonly connection: number; readonly runId: string } | undefined;
  /** The set's marker; undefined if the set is empty or was lost. */
  readMarker(): Promise<string | undefined>;
  /** Empties the set and gives it `marker` and `floor`. Has no effect if the set already has this marker. */
  initialise(marker: string, floor: number): Promise<void>;
  /** Raises the members of `keyIds` to `revision`. Writes nothing and returns false if the set has another marker. */
  write(marker: string, keyIds: readonly string[], revision: number): Promise<boolean>;
  /** Whether the set has that marker, and each key has a member of at least `revision` or is covered by the floor. */
  holds(marker: string, keyIds: readonly string[], revision: number): Promise<boolean>;
  /** Reads the key's member (0 if it has none), the marker and the floor, in one command. */
  look(
    keyId: string,
  ): Promise<{ readonly marker: string | undefined; readonly floor: number; readonly member: number }>;
  /** Raises the floor, then removes members up to it. Has no effect if the set has another marker. */
  trim(marker: string, floor: number): Promise<void>;
  close(): Promise<void>;
}

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

  /** Whether entries could be confirmed now, as far as this process knows without asking Redis. */
  canConfirm(): boolean {
    const { store, clocks, lastsMs } = this.#options;
    const { monotonicMs, wallMs } = this.#since;
    // Either clock ends it: one of them may not count a suspension (docs/protocol/revocation.md#r11).
    const isOver = Math.max(clocks.monotonicMs() - monotonicMs, clocks.wallMs() - wallMs) >= lastsMs;
    return this.#trusted !== undefined && !isOver && store.state()?.connection === this.#trusted.connection;
  }

  /** @throws ClavigerError `LEASE_UNAVAILABLE` unless the set shows that the entry is still current. */
  async confirm({ keyId, revision }: CachedSecret): Promise<void> {
    const { store, appliedRevision } = this.#options;
    const trusted = this.#trusted;
    if (trusted === undefined || !this.canConfirm()) throw undecided();
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
