import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, expect, it } from "vitest";
import { describeWithPostgres, describeWithRedis } from "../../testkit/describe-with.ts";
import { eventually } from "../../testkit/eventually.ts";
import type { Mutation } from "../../testkit/mutation.ts";
import { type Cluster, type Node, startCluster } from "../chaos/cluster.ts";
import { CountingAgent } from "../chaos/counting-agent.ts";
import { decidedByNodes, settledUsage, sum } from "../chaos/settled-usage.ts";
import { makeKey } from "../rpc/make-key.ts";

const REPORT_MS = 300;
/** What a killed agent may not have sent: a report's interval, and the report itself on a machine that is busy. */
const HELD_MS = REPORT_MS + 1500;
/** How often an agent answers from memory at most. */
const MOST_PER_MS = 0.5;
/** Longer than a lease. */
const AWAY_MS = 1500;

/** A report that is sent again under another name, though it may have arrived. */
const WITHOUT_DEDUPE: Mutation = {
  file: "src/usage/flusher.ts",
  find: "      onFailure?.(error);\n",
  replace: `      onFailure?.(error);
      this.#epoch = newEpoch(this.#options.random);
      if (this.#frozen) this.#frozen = { ...this.#frozen, epoch: this.#epoch, seq: 1 };
      this.#seq = 1;
`,
};

describeWithPostgres("what agents with the SDK answered and what the ledger says", () => {
  describeWithRedis("with limits", () => {
    let cluster: Cluster | undefined;
    let agents: readonly CountingAgent[] = [];
    afterEach(async () => {
      await Promise.all(agents.map((agent) => agent.kill()));
      await cluster?.stop();
    });

    async function begin(count: number, mutate?: readonly Mutation[]) {
      const policy = { usage: { flushMs: 300, foldMs: 150, limiterTimeoutMs: 5000 } };
      cluster = await startCluster({
        ...{ nodes: 2, leaseMs: 1000, onDatabaseLoss: "deny", env: { CLAVIGER_POLICY: JSON.stringify(policy) } },
      });
      const running = cluster;
      const { clients } = running.nodes[0] as Node;
      const [free, limited] = await Promise.all([
        makeKey(clients, { owner: "free" }),
        makeKey(clients, { owner: "limited", limits: { requestsPerDay: 1_000_000 } }),
      ]);
      const secrets = { free: free.secret, limited: limited.secret };
      const start = () => CountingAgent.start(running, { ...secrets, reportEveryMs: REPORT_MS, mutate });
      agents = await Promise.all(Array.from({ length: count }, start));
      await sleep(2500);
      const ledger = async () => sum(await settledUsage(running.nodes, [free.id, limited.id]));
      return { nodes: running.nodes, ledger };
    }

    /** Reports that arrive, and whose receipts do not. */
    async function eatReceipts({ links }: CountingAgent): Promise<void> {
      for (const link of links) link.swallow();
      await sleep(3 * REPORT_MS);
      for (const link of links) {
        link.reset();
        await link.resume();
      }
      await sleep(2 * REPORT_MS);
    }

    async function cutOff({ links }: CountingAgent): Promise<void> {
      for (const link of links) link.hang();
      await sleep(AWAY_MS);
      for (const link of links) {
        await link.resume();
        link.reset();
      }
    }

    async function stop(agent: CountingAgent): Promise<void> {
      agent.signal("SIGSTOP");
      await sleep(AWAY_MS);
      agent.signal("SIGCONT");
    }

    const total = (of: (agent: CountingAgent) => number) => sum(agents.map(of));

    it("are equal for agents that were stopped, cut off, lost receipts, and closed while they verified", async () => {
      const { nodes, ledger } = await begin(4);
      const [first, second, third] = agents as [CountingAgent, CountingAgent, CountingAgent];
      await Promise.all([eatReceipts(first), cutOff(second), stop(third)]);
      await eatReceipts(second);
      await eventually(() => expect(total(({ counts }) => counts.memory)).toBeGreaterThan(2000), { withinMs: 60_000 });
      await sleep(1500);
      await Promise.all(agents.map((agent) => agent.close()));
      const decided = await decidedByNodes(nodes);
      expect(await ledger()).toBe(total(({ counts }) => counts.memory) + decided);
      expect(decided).toBeGreaterThanOrEqual(total(({ counts }) => counts.answer));
      expect(decided).toBeLessThanOrEqual(total(({ counts, mostLost }) => counts.answer + mostLost));
    });

    it("differ, when agents are killed, by no more than a report of each; and never is more in the ledger", async () => {
      const { nodes, ledger } = await begin(5);
      const [first, second, ...others] = agents as [CountingAgent, CountingAgent, ...CountingAgent[]];
      await Promise.all([eatReceipts(first), cutOff(second)]);
      await sleep(2500);
      // More than twice what three can have answered in that time.
      const known = () => expect(total(({ counts }) => counts.memory)).toBeGreaterThan(6 * HELD_MS * MOST_PER_MS);
      await eventually(known, { withinMs: 60_000 });
      const held = async (agent: CountingAgent) => {
        await agent.kill();
        return agent.heldWhenKilled(HELD_MS);
      };
      const killed = [first, ...others.slice(1)];
      const mostHeld = sum(await Promise.all(killed.map(held)));
      await Promise.all(agents.filter((agent) => !killed.includes(agent)).map((agent) => agent.close()));
      const [decided, counted] = [await decidedByNodes(nodes), await ledger()];
      const answered = total(({ counts }) => counts.memory) + decided;
      expect(decided).toBeLessThanOrEqual(total(({ counts, mostLost }) => counts.answer + mostLost));
      expect(counted).toBeLessThanOrEqual(answered);
      expect(answered - counted).toBeLessThanOrEqual(mostHeld);
      expect(mostHeld).toBeLessThan(answered / 2);
    });

    it("control: without the number that a report keeps, lost receipts double", async () => {
      const { nodes, ledger } = await begin(2, [WITHOUT_DEDUPE]);
      for (const agent of agents) await eatReceipts(agent);
      await sleep(1500);
      await Promise.all(agents.map((agent) => agent.close()));
      const decided = await decidedByNodes(nodes);
      expect(await ledger()).toBeGreaterThan(total(({ counts }) => counts.memory) + decided);
    });
  });
});
