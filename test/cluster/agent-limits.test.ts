import { afterAll, beforeAll, expect, it } from "vitest";
import { Verdict } from "#gen/claviger/v1/key_verifier_pb.js";
import { createVerifier, type Verifier } from "../../src/sdk/index.ts";
import { describeWithPostgres, describeWithRedis } from "../../testkit/describe-with.ts";
import { eventually } from "../../testkit/eventually.ts";
import { type Cluster, type Node, startCluster } from "../chaos/cluster.ts";
import { decidedByNodes } from "../chaos/settled-usage.ts";
import { makeKey } from "../rpc/make-key.ts";

const QUOTA = 5000;
const REQUESTS = 10_000;
const VERIFIERS_PER_NODE = 2;
/** Questions of one verifier at once: fewer than a node works on. */
const AT_ONCE = 50;
/** A busy machine must not look like a Redis that is away. */
const PATIENT = {
  CLAVIGER_POLICY: JSON.stringify({ usage: { limiterTimeoutMs: 5000 } }),
  CLAVIGER_ON_LIMITER_LOSS: "deny",
};

describeWithPostgres("verifiers inside agents, two at each of three nodes", () => {
  describeWithRedis("which count in Redis", () => {
    let cluster: Cluster;
    let verifiers: Verifier[] = [];

    beforeAll(async () => {
      cluster = await startCluster({ nodes: 3, leaseMs: 2000, onDatabaseLoss: "deny", env: PATIENT });
      const { nodes, token } = cluster;
      const open = ({ url }: Node) => createVerifier({ url, token, timeoutMs: 20_000 });
      verifiers = nodes.flatMap((node) => Array.from({ length: VERIFIERS_PER_NODE }, () => open(node)));
      await eventually(() => expect(verifiers.map(({ fresh }) => fresh)).not.toContain(false));
    });
    afterAll(async () => {
      await Promise.all(verifiers.map((verifier) => verifier.close()));
      await cluster?.stop();
    });

    it(`let exactly ${QUOTA} of ${REQUESTS} through, each decided by a node, and none from memory`, async () => {
      const { clients } = cluster.nodes[0] as Node;
      const { secret } = await makeKey(clients, { owner: "limited", limits: { requestsPerDay: QUOTA } });
      const before = await decidedByNodes(cluster.nodes);
      const verdicts = new Map<Verdict, number>();
      let left = REQUESTS;
      let fromMemory = 0;
      const work = async (verifier: Verifier) => {
        while (left > 0) {
          left -= 1;
          if (verifier.verifySync(secret) !== "ask") fromMemory += 1;
          const { verdict } = await verifier.verify(secret);
          verdicts.set(verdict, (verdicts.get(verdict) ?? 0) + 1);
        }
      };
      await Promise.all(verifiers.flatMap((verifier) => Array.from({ length: AT_ONCE }, () => work(verifier))));
      expect(fromMemory).toBe(0);
      // A question on a stream that broke was asked again, and perhaps charged twice.
      const repeated = (await decidedByNodes(cluster.nodes)) - before - REQUESTS;
      expect(repeated).toBeGreaterThanOrEqual(0);
      const { [Verdict.VALID]: valid = 0, ...others } = Object.fromEntries(verdicts);
      expect(others).toEqual({ [Verdict.QUOTA_EXHAUSTED]: REQUESTS - valid });
      expect(valid).toBeLessThanOrEqual(QUOTA);
      expect(valid).toBeGreaterThanOrEqual(QUOTA - repeated);
    });
  });
});
