import { setTimeout as sleep } from "node:timers/promises";
import type { Cluster } from "./cluster.ts";
import type { CachedSecret, History } from "./history.ts";
import { hostMs } from "./host-clock.ts";

/** Leases for which a dead secret is asked about: longer than a node is frozen, or until it is collected and back. */
const WATCH_TERMS = 2.5;
/** Rounds per lease. */
const ROUNDS_PER_TERM = 4;
/** Leases that an answer may take: a question to a frozen node is answered as it wakes. */
const PATIENCE_TERMS = 4;

/**
 * Ask every node about a secret that must be dead, from the moment it must be. Each question is a new call: whoever
 * waits for a frozen or cut node asked before the moment, and what that node says then proves nothing. Without them,
 * a build that never looks at its lease went through 45 seconds of every nemesis unnoticed.
 */
export class Witnesses {
  readonly #cluster: Cluster;
  readonly #history: History;
  readonly #asked = new Set<Promise<void>>();
  #running = true;

  constructor(parts: { readonly cluster: Cluster; readonly history: History }) {
    this.#cluster = parts.cluster;
    this.#history = parts.history;
  }

  /** Begins at once, and goes on by itself. */
  watch(known: CachedSecret, requiredScopes: readonly string[]): void {
    this.#track(this.#rounds(known, requiredScopes));
  }

  /** Ends with the last answer, or the last patience. */
  async stop(): Promise<void> {
    this.#running = false;
    while (this.#asked.size > 0) await Promise.all(this.#asked);
  }

  async #rounds(known: CachedSecret, requiredScopes: readonly string[]): Promise<void> {
    const { leaseMs, nodes } = this.#cluster;
    const from = known.deadFrom ?? known.narrowFrom ?? 0;
    if (from > hostMs()) await sleep(from - hostMs());
    for (let round = 0; this.#running && round < WATCH_TERMS * ROUNDS_PER_TERM; round++) {
      for (const { index } of nodes) this.#track(this.#ask(index, { known, requiredScopes }));
      await sleep(leaseMs / ROUNDS_PER_TERM);
    }
  }

  async #ask(
    node: number,
    { known, requiredScopes }: { readonly known: CachedSecret; readonly requiredScopes: readonly string[] },
  ): Promise<void> {
    const { nodes, leaseMs } = this.#cluster;
    const { counts } = this.#history;
    const call = { by: `node ${node}`, narrow: requiredScopes.length > 0, began: hostMs() };
    const request = { secret: known.secret, requiredScopes: [...requiredScopes] };
    try {
      const answer = await nodes[node]?.clients.verifier.verify(request, { timeoutMs: leaseMs * PATIENCE_TERMS });
      if (answer === undefined) return;
      counts.witnessed += 1;
      this.#history.verified(known, call, answer);
    } catch {
      counts.undecided += 1;
    }
  }

  #track(work: Promise<void>): void {
    const done = work.finally(() => this.#asked.delete(done));
    this.#asked.add(done);
  }
}
