import type { Ack, Change } from "../keys/change.ts";
import type { SecretCache } from "../verify/secret-cache.ts";
import { AckTree, type Child } from "./ack-tree.ts";
import type { ChangeBus } from "./change-bus.ts";
import type { Registered } from "./lease-registry.ts";

export interface FeedOptions {
  readonly epoch: string;
  readonly cache: Pick<SecretCache, "apply" | "clear">;
  readonly bus: ChangeBus;
}

/** An acknowledgement of a push that an agent has not applied yet. */
interface Owed {
  readonly ack: Ack;
  /** Agents whose lease has ended meanwhile. */
  readonly waitedOut: Set<Child>;
}

/** Applies changes to the cache, as they are pushed and as renewals bring them, and acknowledges what is applied. */
export class Feed {
  /** Whoever leases from this verifier. */
  readonly tree = new AckTree(() => this.#payOwed());
  readonly #options: FeedOptions;
  /** By revision. */
  readonly #owed = new Map<number, Owed>();
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
    return this.tree.ackedRevision(this.#appliedRevision);
  }

  /** Acknowledges what waited for agents whose leases have ended meanwhile, and counts those agents. */
  takeStock(): void {
    this.#noteExpired();
    this.#payOwed();
  }

  /** Starts anew with a registration: earlier reads may lack any change (docs/protocol/revocation.md#r5). */
  restart({ revision, identity }: Pick<Registered, "revision" | "identity">): void {
    this.#options.cache.clear();
    this.tree.reset();
    this.#owed.clear();
    this.#identity = identity;
    this.#appliedRevision = revision;
    this.#newestRevision = revision;
  }

  /** What a renewal brought: all changes up to `revision` that were not applied yet. */
  applyRenewal(revision: number, keyIds: Change["keyIds"]): void {
    if (keyIds === "all" || keyIds.length > 0) this.#options.cache.apply(keyIds);
    // Of what was applied meanwhile, by pushes, everybody has been told already.
    const after = Math.min(this.#appliedRevision, revision - 1);
    this.tree.tell({ after, revision, keyIds });
    this.#appliedRevision = revision;
    this.#newestRevision = Math.max(this.#newestRevision, revision);
    this.#payOwed();
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
    this.tree.tell({ after: change.revision - 1, revision: change.revision, keyIds: change.keyIds });
    if (change.revision === this.#appliedRevision + 1) this.#appliedRevision = change.revision;
    this.#newestRevision = Math.max(this.#newestRevision, change.revision);
    const ack = { epoch, revision: change.revision, identity: change.identity };
    // A change may be pushed again.
    if (!this.#owed.has(change.revision)) this.#owed.set(change.revision, { ack, waitedOut: new Set() });
    this.#payOwed();
  }

  #payOwed(): void {
    for (const [revision, { ack, waitedOut }] of this.#owed) {
      if (!this.tree.hasApplied(revision)) continue;
      this.#noteExpired();
      this.#owed.delete(revision);
      this.#options.bus.acknowledge(waitedOut.size === 0 ? ack : { ...ack, waitedOutAgents: waitedOut.size });
    }
  }

  #noteExpired(): void {
    for (const { child, after, revision } of this.tree.takeExpired()) {
      for (const [owed, { waitedOut }] of this.#owed) if (owed > after && owed <= revision) waitedOut.add(child);
    }
  }
}
