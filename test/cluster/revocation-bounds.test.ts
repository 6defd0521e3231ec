import { durationMs } from "@bufbuild/protobuf/wkt";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { RevocationReceipt } from "#gen/claviger/v1/key_pb.js";
import { Verdict } from "#gen/claviger/v1/key_verifier_pb.js";
import { bootstrapAdmin } from "../../src/server/bootstrap.ts";
import { loadConfig } from "../../src/server/config/config.ts";
import { connect, TEST_ROOT_SECRET } from "../../testkit/claviger.ts";
import { createTestDatabase, type TestDatabase } from "../../testkit/database.ts";
import { describeWithPostgres } from "../../testkit/describe-with.ts";
import { eventually } from "../../testkit/eventually.ts";
import type { Mutation } from "../../testkit/mutation.ts";
import { outputOf } from "../../testkit/run-program.ts";
import { type ServerProcess, startServer } from "../../testkit/server-process.ts";
import { makeKey } from "../rpc/make-key.ts";

const LEASE_MS = 1000;
const WAIT_MS = (LEASE_MS * 1.02) / 0.98;
/** After this long Postgres takes the locks of a frozen process away. */
const IDLE_MS = 1000;

/** Where a node freezes itself, in the middle of a revocation of its own. */
const STEPS: readonly [step: string, mutation: Mutation][] = [
  [
    "holding the key, before it is written",
    {
      file: "src/manage/steps/write-change.ts",
      find: "  const shown = viewSecrets(",
      replace: '  process.kill(process.pid, "SIGSTOP");\n  const shown = viewSecrets(',
    },
  ],
  [
    "holding the revision, before the commit",
    {
      file: "src/postgres/connect/transaction-client.ts",
      find: "    await setImmediate();\n",
      replace: '    await setImmediate();\n    process.kill(process.pid, "SIGSTOP");\n',
    },
  ],
  [
    "after the commit, before anybody is told",
    {
      file: "src/revocation/revoker.ts",
      find: "      const waiting = barrier.wait(",
      replace: '      process.kill(process.pid, "SIGSTOP");\n      const waiting = barrier.wait(',
    },
  ],
  [
    "at the barrier",
    {
      file: "src/revocation/barrier.ts",
      find: "    this.#poller.add(reader);\n    return promise;",
      replace: '    this.#poller.add(reader);\n    process.kill(process.pid, "SIGSTOP");\n    return promise;',
    },
  ],
];

describeWithPostgres("a revocation", () => {
  let database: TestDatabase;
  let token: string;
  let env: Record<string, string>;
  let whole: ServerProcess;

  beforeAll(async () => {
    database = await createTestDatabase();
    env = {
      ...{ DATABASE_URL: database.url, CLAVIGER_ROOT_SECRETS: TEST_ROOT_SECRET },
      ...{ CLAVIGER_LOG_LEVEL: "silent", CLAVIGER_LEASE_MS: String(LEASE_MS) },
    };
    token = (await bootstrapAdmin(await loadConfig(env))).secret.reveal();
    whole = await startServer({ env });
  });
  afterAll(async () => {
    await whole?.stop();
    await database?.drop();
  });

  async function besides<T>(mutate: readonly Mutation[], use: (other: ServerProcess) => Promise<T>): Promise<T> {
    const other = await startServer({ env, mutate });
    try {
      return await use(other);
    } finally {
      await other.kill("SIGCONT");
      await other.kill("SIGKILL");
      // Until it is given up, every revocation waits for it.
      const clients = connect(whole.url, token);
      await eventually(
        async () => {
          const { id } = await makeKey(clients, { owner: "collected" });
          const { receipt } = await clients.keys.revokeKey({ keyId: id });
          expect(receipt?.expiredVerifierCount).toBe(0);
        },
        { withinMs: 20_000 },
      );
    }
  }

  const barrierMs = (receipt: RevocationReceipt | undefined) =>
    receipt?.barrierDuration === undefined ? Number.NaN : durationMs(receipt.barrierDuration);

  it("with a frozen node comes no sooner than that node's lease is over, and not much later", async () => {
    await besides([], async (frozen) => {
      const [here, there] = [connect(whole.url, token), connect(frozen.url, token)];
      const { id, secret } = await makeKey(here, { owner: "frozen" });
      expect((await there.verifier.verify({ secret })).verdict).toBe(Verdict.VALID);
      await frozen.kill("SIGSTOP");
      const began = performance.now();
      const { receipt } = await here.keys.revokeKey({ keyId: id });
      expect(performance.now() - began).toBeGreaterThanOrEqual(WAIT_MS);
      expect(receipt).toMatchObject({ confirmedVerifierCount: 1, expiredVerifierCount: 1 });
      expect(barrierMs(receipt)).toBeLessThan(WAIT_MS + 1000);
      const late = there.verifier.verify({ secret });
      await frozen.kill("SIGCONT");
      expect((await late).verdict).toBe(Verdict.REVOKED);
    });
  });

  it("without Redis takes no longer than until the next renewal, while all nodes live", async () => {
    await besides([], async () => {
      const here = connect(whole.url, token);
      for (let round = 0; round < 5; round++) {
        const { id } = await makeKey(here, { owner: "no-redis" });
        const { receipt } = await here.keys.revokeKey({ keyId: id });
        expect(receipt).toMatchObject({ confirmedVerifierCount: 2, expiredVerifierCount: 0 });
        // The round trips, and what a busy machine adds to them.
        expect(barrierMs(receipt)).toBeLessThan(LEASE_MS / 4 + 300);
      }
    });
  });

  it("control: without the wait, it comes at once, and the node accepts the key when it wakes", async () => {
    const rushed = await startServer({
      env,
      mutate: [
        { file: "src/revocation/judge.ts", find: "if (silent.length > 0 && leftMs > 0)", replace: "if (false)" },
      ],
    });
    try {
      await besides([], async (frozen) => {
        const [here, there] = [connect(rushed.url, token), connect(frozen.url, token)];
        // On a busy machine the lease may be over before the node wakes.
        const acceptsRevoked = async () => {
          const { id, secret } = await makeKey(here, { owner: "rushed" });
          expect((await there.verifier.verify({ secret })).verdict).toBe(Verdict.VALID);
          await frozen.kill("SIGSTOP");
          await here.keys.revokeKey({ keyId: id });
          const late = there.verifier.verify({ secret });
          await frozen.kill("SIGCONT");
          expect((await late).verdict).toBe(Verdict.VALID);
        };
        await eventually(acceptsRevoked, { withinMs: 40_000 });
      });
    } finally {
      await rushed.stop();
    }
  });

  describe("while another node is frozen in the middle of its own,", () => {
    it.each(STEPS)("%s, stays within its bound, of the same key too", async (_step, mutation) => {
      await besides([mutation], async (freezing) => {
        const [here, there] = [connect(whole.url, token), connect(freezing.url, token)];
        const [own, same] = [await makeKey(here, { owner: "own" }), await makeKey(here, { owner: "same" })];
        const stuck = there.keys.revokeKey({ keyId: same.id }, { timeoutMs: 20_000 }).catch(() => undefined);
        await eventually(async () => expect(await stateOf(freezing.pid)).toBe("T"));
        const began = performance.now();
        const [first, second] = await Promise.all([own, same].map(({ id }) => here.keys.revokeKey({ keyId: id })));
        // Postgres' patience with the frozen one, then the wait; the rest is for a busy machine.
        expect(performance.now() - began).toBeLessThan(IDLE_MS + WAIT_MS + 1500);
        for (const answer of [first, second]) expect(answer?.receipt?.effectiveTime).toBeDefined();
        for (const { secret } of [own, same]) {
          expect((await here.verifier.verify({ secret })).verdict).toBe(Verdict.REVOKED);
        }
        await freezing.kill("SIGCONT");
        await stuck;
      });
    });
  });
});

/** `T` for a process that is stopped. */
async function stateOf(pid: number): Promise<string> {
  return (await outputOf("ps", ["-o", "state=", "-p", String(pid)])).trim().charAt(0);
}
