import type { Ack, Change } from "../keys/change.ts";
import type { SecretCache } from "../verify/secret-cache.ts";
import type { ChangeBus } from "./change-bus.ts";
import { type Child, ChildLeases } from "./child-leases.ts";
import type { Registered } from "./lease-registry.ts";

export interface FeedOptions {
  readonly epoch: string;
  readonly cache: Pick<SecretCache, "apply" | "clear">;
  readonly bus: ChangeBus;
}

/** An acknowledgement of a push that an agent has not applied yet. */
interface DueAck {
  readonly ack: Ack;
  /** Agents whose lease has ended meanwhile. */
  readonly waitedOut: Set<Child>;
}

/** Applies changes to the cache, as they are pushed and as renewals bring them, and acknowledges what is applied. */
export class Feed {
  /** Whoever leases from this verifier. */
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

  /** Every change up to here is applied. */
  get appliedRevision(): number {
    return this.#appliedRevision;
  }

  /** The newest revision that was heard of; what lies between is on its way. */
  get newestRevision(): number {
    return this.#newestRevision;
  }

  /** What the registry may be told: everybody below has applied it too. */
  get ackedRevision(): number {
    return this.children.ackedRevision(this.#appliedRevision);
  }

  /** Acknowledges what waited for agents whose leases have ended meanwhile, and counts those agents. */
  takeStock(): void {
    this.#noteExpired();
    this.#sendDueAcks();
  }

  /** Starts anew with a registration: earlier reads may lack any change (docs/protocol/revocation.md#r5). */
  restart({ revision, identity }: Pick<Registered, "revision" | "identity">): void {
    this.#options.cache.clear();
    this.children.reset();
    this.#dueAcks.clear();
    this.#identity = identity;
    this.#appliedRevision = revision;
    this.#newestRevision = revision;
  }

  /** What a renewal brought: all changes up to `revision` that were not applied yet. */
  applyRenewal(revision: number, keyIds: Change["keyIds"]): void {
    if (keyIds === "all" || keyIds.length > 0) this.#options.cache.apply(keyIds);
    // Of what was applied meanwhile, by pushes, everybody has been told already.
    const after = Math.min(this.#appliedRevision, revision - 1);
    this.children.notify({ after, revision, keyIds });
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
    cache.apply(change.keyIds);
    // Its number means nothing here: whoever waits for it reads of this verifier in the registry.
    if (change.identity !== this.#identity) return;
    this.children.notify({ after: change.revision - 1, revision: change.revision, keyIds: change.keyIds });
    if (change.revision === this.#appliedRevision + 1) this.#appliedRevision = change.revision;
    this.#newestRevision = Math.max(this.#newestRevision, change.revision);
    const ack = { epoch, revision: change.revision, identity: change.identity };
    // A change may be pushed again.
    if (!this.#dueAcks.has(change.revision)) this.#dueAcks.set(change.revision, { ack, waitedOut: new Set() });
    this.#sendDueAcks();
  }

  #sendDueAcks(): void {
    for (const [revision, { ack, waitedOut }] of this.#dueAcks) {
      if (!this.children.hasApplied(revision)) continue;
      this.#noteExpired();
      this.#dueAcks.delete(revision);
      this.#options.bus.acknowledge(waitedOut.size === 0 ? ack : { ...ack, waitedOutAgents: waitedOut.size });
    }
  }

  #noteExpired(): void {
    for (const { child, after, revision } of this.children.takeExpired()) {
      for (const [owed, { waitedOut }] of this.#dueAcks) if (owed > after && owed <= revision) waitedOut.add(child);
    }
  }
}
