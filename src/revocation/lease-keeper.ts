import { type Clocks, type Moment, readMoment, type Timers } from "../system/clocks.ts";
import type { Lease } from "../verify/lease.ts";
import type { Feed } from "./feed.ts";
import type { LeaseRegistry, Registered, Registrant, Renewed } from "./lease-registry.ts";

/**
 * The state of a verifier's lease.
 * - `registering`: the verifier has no row, or may not use it. It enters this state by `start`, by a jump of the feed
 *   or by a change of the database, and leaves it with the answer to its registration, which drops the cache.
 * - `leased`: the verifier answers from the cache. Every renewal extends the lease.
 * - `lapsed`: the lease ran out without a renewal. The row and the cache still exist: the next renewal brings the
 *   missed changes and leads back to `leased`.
 * - `collected`: another node collected the row. The verifier registers again.
 * - `closing`: the verifier takes no further lease. It removes its row once the process serves no requests.
 */
export type LeaseState = "registering" | "leased" | "lapsed" | "collected" | "closing";

export interface LeaseKeeperOptions extends Registrant {
  readonly registry: LeaseRegistry;
  readonly lease: Lease;
  readonly feed: Feed;
  readonly clocks: Clocks;
  readonly timers: Timers;
  /** Returns 0 to 1, evenly distributed, to spread the retries of many nodes. */
  readonly jitter: () => number;
  /** Called after each registration and renewal that grants a lease. */
  readonly onGranted?: (seen: Registered, since: Moment) => void;
  /** Called at each registration with the identity of the database, before any of its data is used. */
  readonly onDatabase?: (identity: string) => void;
  /** Called when a registration finds fewer revisions than this verifier had applied: changes are lost. */
  readonly onLost?: (lost: { readonly appliedRevision: number; readonly foundRevision: number }) => void;
  /** Called after each failed attempt. */
  readonly onFailure?: (error: unknown) => void;
}

/** Renewals per term. Three may fail before the lease runs out. */
const RENEWALS_PER_TERM = 4;

/** Checks per term, while the node leaves, whether the leases of its agents have ended. */
const CHECKS_PER_TERM = 100;

/** Terms without an answer after which the keeper drops the attempt and its connection. */
const PATIENCE_TERMS = 0.5;

/** Keeps a verifier's lease: registers, renews every D/4, and registers again if the cache and the database differ. */
export class LeaseKeeper {
  readonly #options: LeaseKeeperOptions;
  #phase: "registering" | "registered" | "collected" | "closing" = "registering";
  #registrations = 0;
  #lostRevisions = 0;
  #failures = 0;
  #attempt = 0;
  #identity = "";
  #next: { cancel(): void } | undefined;

  constructor(options: LeaseKeeperOptions) {
    this.#options = options;
  }

  get state(): LeaseState {
    if (this.#phase !== "registered") return this.#phase;
    return this.#options.lease.isLive() ? "leased" : "lapsed";
  }

  get registrations(): number {
    return this.#registrations;
  }

  /** Revisions that this verifier had applied and the database had lost, summed over all registrations. */
  get lostRevisions(): number {
    return this.#lostRevisions;
  }

  /** Whether the last attempts to reach the registry have failed. */
  get isAway(): boolean {
    return this.#failures > 0;
  }

  /** Renews the lease until `close`. Resolves after the first attempt. */
  start(): Promise<void> {
    return this.#turn();
  }

  /** Ends the lease, and takes no other. */
  close(): void {
    this.#phase = "closing";
    this.#attempt += 1;
    this.#options.lease.end();
    this.#next?.cancel();
  }

  /** Removes this verifier's row once all leases of its agents have ended. Call it after the last request. */
  async leave(): Promise<void> {
    const { feed, timers, termMs, registry, epoch } = this.#options;
    while (feed.children.isLeased) await new Promise<void>((done) => timers.after(termMs / CHECKS_PER_TERM, done));
    await registry.leave(epoch);
  }

  async #turn(): Promise<void> {
    const { clocks, timers, registry, termMs, feed, jitter } = this.#options;
    if (this.#phase === "closing") return;
    this.#attempt += 1;
    const attempt = this.#attempt;
    const since = readMoment(clocks);
    const patience = timers.after(termMs * PATIENCE_TERMS, () => {
      if (attempt !== this.#attempt) return;
      registry.reconnect();
      this.#fail(attempt, new Error("no answer from the lease registry"));
    });
    let again = false;
    try {
      const acked = feed.ackedRevision;
      await (this.#phase === "registered" ? this.#renew(attempt, since) : this.#register(attempt, since));
      // Renews at once if there is a new revision to acknowledge, and not a quarter of a term later.
      again = this.#phase !== "registered" || feed.ackedRevision > acked;
    } catch (error) {
      this.#fail(attempt, error);
      return;
    } finally {
      patience.cancel();
    }
    if (attempt !== this.#attempt) return;
    this.#failures = 0;
    const pauseMs = termMs / RENEWALS_PER_TERM;
    this.#schedule(again ? 0 : pauseMs * (0.9 + 0.1 * jitter()));
  }

  /** The lease begins with the answer, after the registration's commit (docs/protocol/revocation.md#r4). */
  async #register(attempt: number, since: Moment): Promise<void> {
    const { registry, feed, epoch, termMs } = this.#options;
    // Read before the registration: a push that arrives meanwhile may be newer than its snapshot.
    const { appliedRevision } = feed;
    const seen = await registry.register({ epoch, termMs });
    if (attempt !== this.#attempt) return;
    if (seen.revision < appliedRevision) {
      this.#lostRevisions += appliedRevision - seen.revision;
      this.#options.onLost?.({ appliedRevision, foundRevision: seen.revision });
    }
    this.#options.onDatabase?.(seen.identity);
    this.#identity = seen.identity;
    feed.restart(seen);
    this.#phase = "registered";
    this.#registrations += 1;
    this.#grant(seen, since);
  }

  async #renew(attempt: number, since: Moment): Promise<void> {
    const { registry, feed, epoch } = this.#options;
    feed.takeStock();
    const { appliedRevision, ackedRevision } = feed;
    const seen = await registry.renew({ epoch, identity: this.#identity, appliedRevision, ackedRevision });
    if (attempt !== this.#attempt) return;
    if (seen === undefined) return this.#startOver("collected");
    if (!this.#fits(seen, appliedRevision)) return this.#startOver("registering");
    // A push that arrived meanwhile may be newer than this snapshot.
    feed.applyRenewal(Math.max(seen.revision, feed.appliedRevision), seen.keyIds);
    this.#grant(seen, since);
  }

  /** Whether the applied changes belong to the history of this database (docs/protocol/revocation.md#r19). */
  #fits(seen: Renewed, appliedRevision: number): boolean {
    return (
      seen.identity === this.#identity && appliedRevision >= seen.trimmedRevision && seen.revision >= appliedRevision
    );
  }

  #grant(seen: Registered, since: Moment): void {
    this.#options.onGranted?.(seen, since);
    this.#options.lease.grant(since, this.#options.termMs);
  }

  #startOver(phase: "registering" | "collected"): void {
    this.#options.lease.end();
    this.#phase = phase;
  }

  #fail(attempt: number, error: unknown): void {
    if (attempt !== this.#attempt) return;
    this.#failures += 1;
    // A late answer to this attempt is dropped.
    this.#attempt += 1;
    this.#options.onFailure?.(error);
    this.#schedule((this.#options.termMs / RENEWALS_PER_TERM) * (0.5 + 0.5 * this.#options.jitter()));
  }

  #schedule(ms: number): void {
    if (this.#phase === "closing") return;
    this.#next?.cancel();
    this.#next = this.#options.timers.after(ms, () => void this.#turn());
  }
}
