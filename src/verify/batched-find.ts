import type { FoundSecret } from "../keys/found-secret.ts";

/** Looks up digests on the primary, in one statement; keyed by the digest in hex. */
export type FindSecrets = (digests: readonly Buffer[]) => Promise<ReadonlyMap<string, FoundSecret>>;

interface Batch {
  readonly digests: Buffer[];
  readonly found: Promise<ReadonlyMap<string, FoundSecret>>;
}

/** Sends look-ups that are asked for in the same turn as one statement, which begins after the last of them. */
export class BatchedFind {
  readonly #findAll: FindSecrets;
  #open: Batch | undefined;

  constructor(findAll: FindSecrets) {
    this.#findAll = findAll;
  }

  async find(digest: Buffer): Promise<FoundSecret | undefined> {
    this.#open ??= this.#begin();
    this.#open.digests.push(digest);
    return (await this.#open.found).get(digest.toString("hex"));
  }

  #begin(): Batch {
    const digests: Buffer[] = [];
    const found = Promise.resolve().then(() => {
      this.#open = undefined;
      return this.#findAll(digests);
    });
    return { digests, found };
  }
}
