import type { Ack, Change } from "../keys/change.ts";
import type { Clocks } from "../system/clocks.ts";
import type { SecretCache } from "../verify/secret-cache.ts";
import type { ChangeBus } from "./change-bus.ts";
import { type Child, ChildLeases, type Span } from "./child-leases.ts";
import type { Registered } from "./lease-registry.ts";

export interface FeedOptions {
  readonly epoch: string;
  readonly cache: Pick<SecretCache, "apply" | "clear">;
  readonly bus: ChangeBus;
  readonly clocks: Pick<Clocks, "monotonicMs">;
}

/** An acknowledgement of a push that waits until every agent has applied it. */
interface DueAck {
  readonly ack: Ack;
  /** Agents whose leases ended before they acknowledged. */
  readonly waitedOut: Set<Child>;
}

/**
 * Applies changes to the cache, notifies the agents, and acknowledges the changes that both have applied. Changes
 * arrive as pushes and with renewals.
 */
export class Feed {
  /** The agents that lease from this verifier. */
  readonly children = new ChildLeases(() => this.#sendDueAcks());
  readonly #options: FeedOptions;
  /** By revision. */
  readonly #dueAcks = new Map<number, DueAck>();
  #identity = "";
  #appliedRevision = 0;
  #newestRevision = 0;

  constructor(options: FeedOptions) {
    this.#options = options;
    options.bus.onChange((change) => this.#applyPush(change));
  }

  /** The cache has applied every change up to this revision. */
  get appliedRevision(): number {
    return this.#appliedRevision;
  }

  /** The newest revision that a push or a renewal has named. Revisions below it may not have arrived yet. */
  get newestRevision(): number {
    return this.#newestRevision;
  }

  /** The revision to report to the registry: the cache and every agent have applied every change up to it. */
  get ackedRevision(): number {
    this.children.forgetGone();
    return this.children.minAcked(this.#appliedRevision, this.#options.clocks.monotonicMs());
  }

  /** Sends acknowledgements that waited for agents whose leases have ended, and counts those agents. */
  takeStock(): void {
    this.#noteExpired();
    this.#sendDueAcks();
  }

  /** Starts again with a registration: cached entries may lack any change (docs/protocol/revocation.md#r5). */
  restart({ revision, identity }: Pick<Registered, "revision" | "identity">): void {
    this.#options.cache.clear();
    for (const child of this.children.all) child.reset();
    this.#dueAcks.clear();
    this.#identity = identity;
    this.#appliedRevision = revision;
    this.#newestRevision = revision;
  }

  /** Applies a renewal: all changes up to `revision` that were not applied yet (docs/protocol/revocation.md#r6). */
  applyRenewal(revision: number, keyIds: Change["keyIds"]): void {
    if (keyIds === "all" || keyIds.length > 0) this.#options.cache.apply(keyIds);
    // Pushes have already notified the agents of changes up to the applied revision.
    const after = Math.min(this.#appliedRevision, revision - 1);
    this.#notify({ after, revision, keyIds });
    this.#appliedRevision = revision;
    this.#newestRevision = Math.max(this.#newestRevision, revision);
    this.#sendDueAcks();
  }

  /**
   * Applies a push in any order and acknowledges exactly its revision (docs/protocol/revocation.md#r7). A missed push
   * arrives with a renewal.
   */
  #applyPush(change: Change): void {
    const { cache, epoch } = this.#options;
    const { revision, identity, keyIds } = change;
    cache.apply(keyIds);
    // The revision is that of another database (docs/protocol/revocation.md#r19). Its revoker reads the registry.
    if (change.identity !== this.#identity) return;
    this.#notify({ after: revision - 1, revision, keyIds });
    if (revision === this.#appliedRevision + 1) this.#appliedRevision = revision;
    this.#newestRevision = Math.max(this.#newestRevision, revision);
    // A revoker may push a change twice.
    if (!this.#dueAcks.has(revision)) {
      this.#dueAcks.set(revision, { ack: { epoch, revision, identity }, waitedOut: new Set() });
    }
    this.#sendDueAcks();
  }

  #notify(span: Span): void {
    for (const child of this.children.all) child.notify(span);
  }

  #sendDueAcks(): void {
    const { bus, clocks } = this.#options;
    for (const [revision, { ack, waitedOut }] of this.#dueAcks) {
      if (!this.children.hasApplied(revision, clocks.monotonicMs())) continue;
      this.#noteExpired();
      this.#dueAcks.delete(revision);
      bus.acknowledge(waitedOut.size === 0 ? ack : { ...ack, waitedOutAgents: waitedOut.size });
    }
  }

  #noteExpired(): void {
    for (const child of this.children.pending) child.noticeExpired();
    for (const { child, after, revision } of this.children.takeExpired()) {
      for (const [due, { waitedOut }] of this.#dueAcks) if (due > after && due <= revision) waitedOut.add(child);
    }
  }
}
