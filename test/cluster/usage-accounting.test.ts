import { setTimeout as sleep } from "node:timers/promises";
import { Code, ConnectError } from "@connectrpc/connect";
import { Redis } from "ioredis";
import { afterEach, expect, it } from "vitest";
import { describeWithPostgres } from "../../testkit/describe-with.ts";
import { eventually } from "../../testkit/eventually.ts";
import type { Mutation } from "../../testkit/mutation.ts";
import { type Cluster, type Node, startCluster } from "../chaos/cluster.ts";
import { settledUsage, sum } from "../chaos/settled-usage.ts";

const FLUSH_MS = 300;
/** What a killed node may not have sent: a flush interval, and the flush itself on a machine that is busy. */
const HELD_MS = FLUSH_MS + 700;
const WORKERS = 4;

/** A flush that sends again under another name what may have arrived. */
const WITHOUT_DEDUPE: Mutation = {
  file: "src/usage/flusher.ts",
  find: "      onFailure?.(error);\n",
  replace: `      onFailure?.(error);
      this.#epoch = newEpoch(this.#options.random);
      if (this.#frozen) this.#frozen = { ...this.#frozen, epoch: this.#epoch, seq: 1 };
      this.#seq = 1;
`,
};

/** What clients know of each node's answers. */
class Tally {
  /** When each decided answer came, by node. */
  readonly decided: number[][] = [[], [], []];
  /** Calls whose outcome nobody knows. */
  unknown = 0;

  get total(): number {
    return this.decided.reduce((sum, times) => sum + times.length, 0);
  }

  since(node: number, ms: number): number {
    return (this.decided[node] ?? []).filter((at) => at >= ms).length;
  }
}

/** Agents at every node, which can be sent away from one. */
class Load {
  readonly tally = new Tally();
  readonly #closed = new Set<number>();
  #running = true;
  readonly #workers: Promise<void>[];

  constructor(nodes: readonly Node[], secrets: readonly string[]) {
    this.#workers = nodes.flatMap((node) =>
      Array.from({ length: WORKERS }, (_, at) => this.#work(node, secrets[at % secrets.length] ?? "")),
    );
  }

  /** No new calls to that node; those under way go on. */
  leave(node: Node): void {
    this.#closed.add(node.index);
  }

  comeBack(node: Node): void {
    this.#closed.delete(node.index);
  }

  async stop(): Promise<Tally> {
    this.#running = false;
    await Promise.all(this.#workers);
    return this.tally;
  }

  async #work(node: Node, secret: string): Promise<void> {
    while (this.#running) {
      if (this.#closed.has(node.index)) {
        await sleep(5);
        continue;
      }
      try {
        await node.clients.verifier.verify({ secret, method: "/a.B/C" }, { timeoutMs: 5000 });
        this.tally.decided[node.index]?.push(performance.now());
      } catch (error) {
        const failure = ConnectError.from(error);
        // A server that could not decide says so; all else says nothing.
        const isUndecided = failure.code === Code.Unavailable && failure.details.length > 0;
        if (!isUndecided) this.tally.unknown += 1;
      }
      await sleep(15);
    }
  }
}

describeWithPostgres("what clients saw and what the ledger says", () => {
  let cluster: Cluster | undefined;
  afterEach(() => cluster?.stop());

  async function begin(mutate?: readonly Mutation[]) {
    const policy = { usage: { flushMs: FLUSH_MS, foldMs: 150 }, postgres: { storageTimeoutMs: 1500 } };
    cluster = await startCluster({
      ...{ nodes: 3, leaseMs: 1000, onDatabaseLoss: "deny", env: { CLAVIGER_POLICY: JSON.stringify(policy) } },
      ...(mutate === undefined ? {} : { mutate }),
    });
    const { nodes } = cluster;
    const keys = await Promise.all(
      ["a", "b", "c"].map((owner) => (nodes[0] as Node).clients.keys.createKey({ owner, displayName: "k" })),
    );
    const load = new Load(
      nodes,
      keys.map(({ secret }) => secret),
    );
    await sleep(1000);
    return { cluster, nodes: nodes as [Node, Node, Node], load, keyIds: keys.map(({ key }) => key?.id ?? "") };
  }

  const settled = async (nodes: readonly Node[], keyIds: readonly string[]) => sum(await settledUsage(nodes, keyIds));

  /** Commits whose replies are eaten: the node must send again what the ledger has. */
  async function eatReplies({ links }: Node): Promise<void> {
    links.leases.swallow();
    await sleep(2 * FLUSH_MS);
    links.leases.reset();
    await links.leases.resume();
    await sleep(2 * FLUSH_MS);
  }

  it("are equal to the last verification through rolling restarts, eaten replies, a killed Postgres and a flushed Redis", async () => {
    const { cluster, nodes, load, keyIds } = await begin();
    for (const node of nodes) {
      await eatReplies(node);
      const redis = new Redis(cluster.redis.url);
      await redis.flushall();
      redis.disconnect();
      load.leave(node);
      expect(await node.server.stop()).toBe(0);
      await node.restart();
      load.comeBack(node);
    }
    await cluster.postgres.restart({ mode: "immediate" });
    await sleep(2000);
    await eventually(() => expect(load.tally.total).toBeGreaterThan(500), { withinMs: 60_000 });
    const tally = await load.stop();
    const ledger = await settled(nodes, keyIds);
    // Of a call that a busy machine did not answer in its time nobody knows whether it was decided; mostly there is none.
    expect(ledger).toBeGreaterThanOrEqual(tally.total);
    expect(ledger).toBeLessThanOrEqual(tally.total + tally.unknown);
    expect(tally.unknown).toBeLessThan(tally.total / 50);
  });

  it("differ, when nodes are killed, by no more than those held; and never is more in the ledger", async () => {
    const { cluster, nodes, load, keyIds } = await begin();
    let held = 0;
    await eatReplies(nodes[0]);
    for (const node of nodes) {
      await sleep(1000);
      await node.server.kill("SIGKILL");
      held += load.tally.since(node.index, performance.now() - HELD_MS);
      await node.restart();
    }
    await cluster.postgres.restart({ mode: "immediate" });
    await sleep(2000);
    const tally = await load.stop();
    const ledger = await settled(nodes, keyIds);
    expect(ledger).toBeLessThanOrEqual(tally.total + tally.unknown);
    expect(tally.total - ledger).toBeLessThanOrEqual(held);
    expect(held).toBeLessThan(tally.total / 2);
  });

  it("control: without the number that a batch keeps, eaten replies double", async () => {
    const { nodes, load, keyIds } = await begin([WITHOUT_DEDUPE]);
    for (const node of nodes) await eatReplies(node);
    const tally = await load.stop();
    const ledger = await settled(nodes, keyIds);
    expect(ledger).toBeGreaterThan(tally.total + tally.unknown);
  });
});
