import { setTimeout as sleep } from "node:timers/promises";
import { Code, ConnectError } from "@connectrpc/connect";
import { afterEach, beforeEach, expect, it } from "vitest";
import { Verdict } from "#gen/claviger/v1/key_verifier_pb.js";
import { nameOf } from "../../src/rpc/codec/from-proto.ts";
import { createVerifier, type Verifier, type VerifierOptions } from "../../src/sdk/index.ts";
import { describeWithPostgres, describeWithRedis } from "../../testkit/describe-with.ts";
import { eventually } from "../../testkit/eventually.ts";
import { type Cluster, type Node, startCluster } from "../chaos/cluster.ts";
import { CountingAgent } from "../chaos/counting-agent.ts";
import { makeKey } from "../rpc/make-key.ts";

const LEASE_MS = 2000;
const OUTAGE_MS = 10_000;
/** Time for a busy machine to notice that something is so. */
const MARGIN_MS = 3000;

/** All that can be chosen about a verifier: an option more does not compile here. None lets it fail open. */
const OPTIONS: Required<Record<keyof VerifierOptions, true>> = {
  ...{ url: true, token: true, nodeOptions: true, onBroken: true, onWarning: true },
  ...{ capacity: true, reportEveryMs: true, timeoutMs: true },
};

interface Seen {
  /** Milliseconds since the outage began, before the question and after the answer. */
  readonly from: number;
  readonly to: number;
  /** What memory says. */
  readonly known: Verdict | "ask";
}

it("the options of a verifier have none by which it would fail open", () => {
  expect(Object.keys(OPTIONS).filter((name) => /open|allow|loss|stale|fallback/i.test(name))).toEqual([]);
});

describeWithPostgres("a verifier inside an agent", () => {
  describeWithRedis("on two nodes", () => {
    let cluster: Cluster;
    let verifier: Verifier;

    async function begin(): Promise<void> {
      cluster = await startCluster({ nodes: 2, leaseMs: LEASE_MS, onDatabaseLoss: "deny" });
      const { nodes, token } = cluster;
      verifier = createVerifier({ url: nodes.map(({ url }) => url), token, timeoutMs: 1000 });
    }
    async function end(): Promise<void> {
      await cluster?.stop();
      await verifier?.close();
    }
    const known = (secret: string) => {
      const found = verifier.verifySync(secret);
      return found === "ask" ? found : found.verdict;
    };
    /** Known to the verifier. */
    async function warmKey() {
      const made = await makeKey((cluster.nodes[0] as Node).clients, { owner: "outage" });
      await eventually(async () => {
        await verifier.verify(made.secret);
        expect(known(made.secret)).toBe(Verdict.VALID);
      });
      return made;
    }
    async function freeAndLimited() {
      const { clients } = cluster.nodes[0] as Node;
      const free = await makeKey(clients, { owner: "free" });
      const limited = await makeKey(clients, { owner: "limited", limits: { requestsPerDay: 1_000_000 } });
      return { free: free.secret, limited: limited.secret };
    }
    /** Asks memory all the time. */
    async function watch(secret: string, ms: number): Promise<Seen[]> {
      const began = performance.now();
      const since = () => performance.now() - began;
      const seen: Seen[] = [];
      while (since() < ms) {
        const from = since();
        seen.push({ from, known: known(secret), to: since() });
        await sleep(10);
      }
      return seen;
    }
    /** While the lease ran it was answered as before, and from its end on not at all. */
    function expectOneLease(seen: readonly Seen[]): void {
      expect(new Set(seen.map(({ known }) => known))).toEqual(new Set([Verdict.VALID, "ask"]));
      const last = seen.findLastIndex(({ known }) => known === Verdict.VALID);
      expect(seen.slice(0, last).map(({ known }) => known)).not.toContain("ask");
      expect(seen[last]?.from).toBeLessThan(LEASE_MS);
    }
    async function expectUndecided(secret: string): Promise<void> {
      const error = await verifier.verify(secret).then(
        ({ verdict }) => new Error(`it was decided: ${nameOf(Verdict, verdict)}`),
        (error: unknown) => error,
      );
      expect(error).toBeInstanceOf(ConnectError);
      expect(error).toMatchObject({ code: Code.Unavailable });
    }

    beforeEach(() => begin(), 60_000);
    afterEach(end);

    it("goes on from memory under its lease when every server is gone, then decides nothing, and comes back with them", async () => {
      const { secret, id } = await warmKey();
      await Promise.all(cluster.nodes.map(({ server }) => server.kill("SIGKILL")));
      expectOneLease(await watch(secret, LEASE_MS + 500));
      for (let i = 0; i < 3; i++) await expectUndecided(secret);
      expect(known(secret)).toBe("ask");
      await Promise.all(cluster.nodes.map((node) => node.restart()));
      await eventually(() => expect(verifier.fresh).toBe(true), { withinMs: 20_000 });
      expect((await verifier.verify(secret)).verdict).toBe(Verdict.VALID);
      expect(known(secret)).toBe(Verdict.VALID);
      await (cluster.nodes[1] as Node).clients.keys.revokeKey({ keyId: id });
      expect((await verifier.verify(secret)).verdict).toBe(Verdict.REVOKED);
    });

    it("answers nothing from memory, nor otherwise, while its node is frozen and the other is gone", async () => {
      const { secret } = await warmKey();
      const [frozen, gone] = cluster.nodes as [Node, Node];
      await gone.server.kill("SIGKILL");
      await eventually(() => verifier.verify(secret));
      await frozen.server.kill("SIGSTOP");
      const seen = await watch(secret, LEASE_MS + 500);
      expect(seen.filter(({ from, known }) => from >= LEASE_MS && known !== "ask")).toEqual([]);
      await expectUndecided(secret);
      await frozen.server.kill("SIGCONT");
      await eventually(async () => expect((await verifier.verify(secret)).verdict).toBe(Verdict.VALID));
      await eventually(() => expect(verifier.fresh).toBe(true));
    });

    it("does not keep a node that is told to stop from stopping, though it is frozen itself", async () => {
      const [node, other] = cluster.nodes as [Node, Node];
      const agent = await CountingAgent.start(cluster, { ...(await freeAndLimited()), reportEveryMs: 300 });
      try {
        await other.server.stop();
        await eventually(() => expect(agent.counts.memory).toBeGreaterThan(0));
        const { memory } = agent.counts;
        await eventually(() => expect(agent.counts.memory).toBeGreaterThan(memory));
        agent.signal("SIGSTOP");
        // It would be killed after 15 s, and then there is no code.
        expect(await node.server.stop()).toBe(0);
      } finally {
        await agent.kill();
      }
    });

    it(`stops answering within the lease when Postgres goes away for ${OUTAGE_MS / 1000} s, and goes on after its return`, async () => {
      const { secret } = await warmKey();
      cluster.postgres.kill("SIGKILL");
      expectOneLease(await watch(secret, OUTAGE_MS));
      await expectUndecided(secret);
      await cluster.postgres.restart();
      const back = performance.now();
      await eventually(() => expect(verifier.fresh).toBe(true));
      expect((await verifier.verify(secret)).verdict).toBe(Verdict.VALID);
      expect(performance.now() - back).toBeLessThan(LEASE_MS / 4 + 1000 + MARGIN_MS);
    });
  });
});
