import type { Ack, Change } from "../keys/change.ts";
import type { SecretCache } from "../verify/secret-cache.ts";
import { AckTree } from "./ack-tree.ts";
import type { ChangeBus } from "./change-bus.ts";
import type { Registered } from "./lease-registry.ts";

export interface FeedOptions {
  readonly epoch: string;
  readonly cache: Pick<SecretCache, "apply" | "clear">;
  readonly bus: ChangeBus;
}

/** Applies changes to the cache, as they are pushed and as renewals bring them, and acknowledges what is applied. */
export class Feed {
  /** Whoever leases from this verifier. */
  readonly tree = new AckTree();
  readonly #options: FeedOptions;
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

  /** A registration with a database begins anew: what was read before it may lack any change (rule R5). */
  restart({ revision, identity }: Pick<Registered, "revision" | "identity">): void {
    this.#options.cache.clear();
    this.#identity = identity;
    this.#appliedRevision = revision;
    this.#newestRevision = revision;
  }

  /** What a renewal brought: all changes up to `revision` that were not applied yet. */
  applyRenewal(revision: number, keyIds: Change["keyIds"]): void {
    if (keyIds === "all" || keyIds.length > 0) this.#options.cache.apply(keyIds);
    this.#appliedRevision = revision;
    this.#newestRevision = Math.max(this.#newestRevision, revision);
  }

  /** Applied whatever its place, acknowledged for exactly its revision (rule R7): one that was missed comes by renewal. */
  #applyPush(change: Change): void {
    const { cache, bus, epoch } = this.#options;
    cache.apply(change.keyIds);
    // Its number means nothing here: whoever waits for it reads of this verifier in the registry.
    if (change.identity !== this.#identity) return;
    if (change.revision === this.#appliedRevision + 1) this.#appliedRevision = change.revision;
    this.#newestRevision = Math.max(this.#newestRevision, change.revision);
    const ack: Ack = { epoch, revision: change.revision, identity: change.identity };
    if (this.tree.isLeaf) bus.acknowledge(ack);
  }
}
