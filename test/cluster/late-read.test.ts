import { setTimeout as sleep } from "node:timers/promises";
import { expect, it } from "vitest";
import { Verdict } from "#gen/claviger/v1/key_verifier_pb.js";
import { describeWithPostgres, describeWithRedis } from "../../testkit/describe-with.ts";
import { eventually } from "../../testkit/eventually.ts";
import type { Mutation } from "../../testkit/mutation.ts";
import { startCluster } from "../chaos/cluster.ts";
import { makeKey } from "../rpc/make-key.ts";

/** On the way to Postgres, and as long on the way back. */
const WAY_MS = 500;

/** Reads a key slowly on one node; revokes it on another between the read and its answer; then asks again. */
async function askAfterLateRead(mutate: readonly Mutation[]): Promise<Verdict> {
  const cluster = await startCluster({ nodes: 2, leaseMs: 3000, onDatabaseLoss: "deny", mutate });
  try {
    const [other, slow] = cluster.nodes;
    if (other === undefined || slow === undefined) throw new Error("there are no nodes");
    const [warm, late] = [
      await makeKey(other.clients, { owner: "warm" }),
      await makeKey(other.clients, { owner: "late" }),
    ];
    await eventually(() => slow.clients.verifier.verify({ secret: warm.secret }));
    slow.links.reads.latency(WAY_MS);
    const before = slow.clients.verifier.verify({ secret: late.secret });
    await sleep(WAY_MS * 1.3);
    const { receipt } = await other.clients.keys.revokeKey({ keyId: late.id });
    expect(receipt).toMatchObject({ confirmedVerifierCount: 2, expiredVerifierCount: 0 });
    // It began before the revocation, and saw the key alive.
    expect((await before).verdict).toBe(Verdict.VALID);
    return (await slow.clients.verifier.verify({ secret: late.secret })).verdict;
  } finally {
    await cluster.stop();
  }
}

describeWithPostgres("a read that is answered after the key was revoked", () => {
  describeWithRedis("with Redis", () => {
    it("is not kept: the next verification says REVOKED", async () => {
      expect(await askAfterLateRead([])).toBe(Verdict.REVOKED);
    });

    it("control: without the fill token (R3) it is kept, and the key goes on being VALID", async () => {
      const mutate = [
        {
          file: "src/verify/fills.ts",
          find: "if (this.#recent[at % RING]?.includes(keyId)) return false;",
          replace: ";",
        },
      ];
      expect(await askAfterLateRead(mutate)).toBe(Verdict.VALID);
    });
  });
});
