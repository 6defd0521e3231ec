import { setTimeout as sleep } from "node:timers/promises";
import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Freshness, Verdict, type VerifyResponse } from "#gen/claviger/v1/key_verifier_pb.js";
import { describeWithPostgres, describeWithRedis } from "../../testkit/describe-with.ts";
import { eventually } from "../../testkit/eventually.ts";
import type { Mutation } from "../../testkit/mutation.ts";
import { refusalOf } from "../../testkit/refusal.ts";
import { type Cluster, type Node, startCluster } from "../chaos/cluster.ts";
import { makeKey } from "../rpc/make-key.ts";

const LEASE_MS = 1000;
/** Time for the calls that tell that something is so, on a busy machine. */
const MARGIN_MS = 1500;
const QUICK = { timeoutMs: 2500 };

describeWithPostgres("a node whose Postgres goes away", () => {
  describeWithRedis("with Redis", () => {
    let cluster: Cluster;

    async function begin(onDatabaseLoss: "deny" | "revocation-set", mutate: readonly Mutation[] = []): Promise<void> {
      cluster = await startCluster({ nodes: 2, leaseMs: LEASE_MS, onDatabaseLoss, mutate });
    }
    const end = () => cluster.stop();
    const node = (index: number): Node => {
      const found = cluster.nodes[index];
      if (found === undefined) throw new Error(`there is no node ${index}`);
      return found;
    };
    const ask = (at: Node, secret: string): Promise<VerifyResponse> => at.clients.verifier.verify({ secret }, QUICK);
    /** Known to both nodes, so that both may answer from memory. */
    async function warmKey(owner: string) {
      // Whoever lost the database in the case before may not be back yet.
      const made = await eventually(() => makeKey(node(0).clients, { owner }));
      await eventually(async () => {
        for (const at of cluster.nodes) expect((await ask(at, made.secret)).freshness).toBe(Freshness.LEASED);
      });
      return made;
    }
    const cutOff = (at: Node) =>
      Promise.all(
        [at.links.reads, at.links.leases].map(async (link) => {
          await link.refuse();
          link.reset();
        }),
      );
    const mend = (at: Node) => Promise.all([at.links.reads, at.links.leases].map((link) => link.resume()));

    describe("and which denies", () => {
      beforeAll(() => begin("deny"));
      afterAll(end);

      it("stops answering what it has in memory within D, and goes on within D/4 + 1 s of the return", async () => {
        const { secret } = await warmKey("deny");
        cluster.postgres.kill("SIGKILL");
        const lost = performance.now();
        const answers: { readonly at: number; readonly verdict: Verdict | undefined }[] = [];
        while (performance.now() - lost < 10_000) {
          const at = performance.now() - lost;
          answers.push({ at, verdict: (await ask(node(1), secret).catch(() => undefined))?.verdict });
          await sleep(20);
        }
        const decided = answers.filter(({ verdict }) => verdict !== undefined);
        expect(new Set(decided.map(({ verdict }) => verdict))).toEqual(new Set([Verdict.VALID]));
        expect(decided.at(-1)?.at).toBeLessThan(LEASE_MS);
        expect(decided.at(-1)?.at).toBeGreaterThan(LEASE_MS / 2);
        await cluster.postgres.restart();
        const back = performance.now();
        await eventually(async () => expect((await ask(node(1), secret)).verdict).toBe(Verdict.VALID));
        expect(performance.now() - back).toBeLessThan(LEASE_MS / 4 + 1000 + MARGIN_MS);
      });
    });

    describe("and which goes on by the revocation set", () => {
      beforeAll(() => begin("revocation-set"));
      afterAll(end);

      const seen = async (at: Node, secret: string) => {
        const { verdict, freshness } = await ask(at, secret);
        return [verdict, freshness];
      };
      /** The set is trusted from the second renewal on the same connection. */
      const trusted = () => sleep(LEASE_MS);

      it("answers what it has in memory, says so, and refuses what was revoked just before", async () => {
        const [kept, gone] = [await warmKey("set-kept"), await warmKey("set-gone")];
        await trusted();
        const { receipt } = await node(0).clients.keys.revokeKey({ keyId: gone.id });
        expect(receipt?.revocationSetWritten).toBe(true);
        cluster.postgres.kill("SIGKILL");
        try {
          const { VALID } = Verdict;
          await eventually(async () =>
            expect(await seen(node(1), kept.secret)).toEqual([VALID, Freshness.REVOCATION_SET]),
          );
          await eventually(async () => {
            const answer = await fetch(`${node(1).url}/readyz`);
            expect([answer.status, await answer.json()]).toMatchObject([
              200,
              { ready: true, causes: { storage: { status: "warning" } } },
            ]);
          });
          for (const at of cluster.nodes)
            expect(await refusalOf(ask(at, gone.secret))).toMatchObject({ code: "Unavailable" });
          expect(await refusalOf(node(0).clients.keys.revokeKey({ keyId: kept.id }, QUICK))).toMatchObject({
            code: expect.stringMatching(/Unavailable|DeadlineExceeded/),
          });
        } finally {
          await cluster.postgres.restart();
        }
        await eventually(async () => expect((await ask(node(1), kept.secret)).verdict).toBe(Verdict.VALID));
      });

      it("refuses what others revoke while it alone is cut off from Postgres and hears no pushes", async () => {
        const { id, secret } = await warmKey("set-cut");
        await trusted();
        const cut = node(1);
        await cutOff(cut);
        try {
          await eventually(async () =>
            expect(await seen(cut, secret)).toEqual([Verdict.VALID, Freshness.REVOCATION_SET]),
          );
          await node(0).clients.keys.revokeKey({ keyId: id });
          expect(await refusalOf(ask(cut, secret))).toMatchObject({ code: "Unavailable" });
        } finally {
          await mend(cut);
        }
        await eventually(async () => expect((await ask(cut, secret)).verdict).toBe(Verdict.REVOKED));
      });

      const redisLosses: readonly [string, () => Promise<void>][] = [
        [
          "was flushed",
          async () => {
            const redis = new Redis(cluster.redis.url);
            await redis.flushall();
            redis.disconnect();
          },
        ],
        ["was restarted", () => cluster.redis.restart()],
      ];
      it.each(redisLosses)("answers nothing from memory once Redis %s meanwhile", async (_what, lose) => {
        const { secret } = await warmKey("set-lost");
        await trusted();
        cluster.postgres.kill("SIGKILL");
        try {
          await eventually(async () =>
            expect(await seen(node(1), secret)).toEqual([Verdict.VALID, Freshness.REVOCATION_SET]),
          );
          await lose();
          expect(await refusalOf(ask(node(1), secret))).toMatchObject({ code: "Unavailable" });
          await sleep(600);
          expect(await refusalOf(ask(node(1), secret))).toMatchObject({ code: "Unavailable" });
        } finally {
          await cluster.postgres.restart();
        }
        await eventually(async () => expect((await ask(node(1), secret)).verdict).toBe(Verdict.VALID));
      });

      it("answers nothing from memory while it is cut off from Redis, nor right after it has connected again", async () => {
        const { secret } = await warmKey("set-unreachable");
        await trusted();
        cluster.postgres.kill("SIGKILL");
        const { redis } = node(1).links;
        try {
          await eventually(async () =>
            expect(await seen(node(1), secret)).toEqual([Verdict.VALID, Freshness.REVOCATION_SET]),
          );
          await redis.refuse();
          redis.reset();
          expect(await refusalOf(ask(node(1), secret))).toMatchObject({ code: "Unavailable" });
          await redis.resume();
          await sleep(1000);
          expect(await refusalOf(ask(node(1), secret))).toMatchObject({ code: "Unavailable" });
        } finally {
          await redis.resume();
          await cluster.postgres.restart();
        }
        await eventually(async () => expect((await ask(node(1), secret)).verdict).toBe(Verdict.VALID));
      });

      it("is waited for by whoever revokes and cannot reach Redis: UNCONFIRMED, until a repetition converges", async () => {
        const { id, secret } = await warmKey("set-unconfirmed");
        await trusted();
        const [revoker, cut] = [node(0), node(1)];
        await cutOff(cut);
        await revoker.links.redis.refuse();
        revoker.links.redis.reset();
        try {
          const call = revoker.clients.keys.revokeKey({ keyId: id }, { timeoutMs: 10_000 });
          expect(await refusalOf(call)).toMatchObject({ code: "Unavailable", reason: "REVOCATION_UNCONFIRMED" });
        } finally {
          await revoker.links.redis.resume();
        }
        await eventually(() => revoker.clients.keys.revokeKey({ keyId: id }), { withinMs: 15_000 });
        expect(await refusalOf(ask(cut, secret))).toMatchObject({ code: "Unavailable" });
        await mend(cut);
        await eventually(async () => expect((await ask(cut, secret)).verdict).toBe(Verdict.REVOKED));
      });
    });
  });
});

describeWithPostgres("control: a node that goes on without asking the revocation set", () => {
  describeWithRedis("with Redis", () => {
    it("accepts what others have revoked", async () => {
      const mutate = [{ file: "src/verify/verifier.ts", find: "await onLoss.confirm(known);", replace: "" }];
      const cluster = await startCluster({ nodes: 2, leaseMs: LEASE_MS, onDatabaseLoss: "revocation-set", mutate });
      try {
        const [first, cut] = cluster.nodes;
        if (first === undefined || cut === undefined) throw new Error("there are no nodes");
        const { id, secret } = await makeKey(first.clients, { owner: "control" });
        const ask = () => cut.clients.verifier.verify({ secret }, QUICK);
        await eventually(async () => expect((await ask()).freshness).toBe(Freshness.LEASED));
        // Its pushes are lost too: else it would forget the key.
        for (const link of Object.values(cut.links)) {
          await link.refuse();
          link.reset();
        }
        await first.clients.keys.revokeKey({ keyId: id }, { timeoutMs: 10_000 });
        expect((await ask()).verdict).toBe(Verdict.VALID);
      } finally {
        await cluster.stop();
      }
    });
  });
});
