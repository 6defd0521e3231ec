import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, expect, it } from "vitest";
import { bootstrapAdmin } from "../../src/server/bootstrap.ts";
import { loadConfig } from "../../src/server/config/config.ts";
import { type Clients, connect, TEST_ROOT_SECRET } from "../../testkit/claviger.ts";
import { createTestDatabase, type TestDatabase } from "../../testkit/database.ts";
import { describeWithPostgres } from "../../testkit/describe-with.ts";
import type { Mutation } from "../../testkit/mutation.ts";
import { refusalOf } from "../../testkit/refusal.ts";
import { type ServerProcess, startServer } from "../../testkit/server-process.ts";
import { createTestUsers } from "../../testkit/test-users.ts";
import { makeKey } from "../rpc/make-key.ts";
import { type HeldLock, holdLock } from "./held-lock.ts";

const POOL_SIZE = 10;

/**
 * The rate of one user is another mitigation, and lifted here. Everything that waits for a lock goes on waiting until the
 * test releases it, on a slow machine too.
 */
const POLICY = {
  manage: { userChangeBurst: 100_000 },
  postgres: {
    ...{ poolSize: POOL_SIZE, idleInTransactionTimeoutMs: 60_000, probeTimeoutMs: 60_000 },
    ...{ lockTimeoutMs: 60_000, statementTimeoutMs: 60_000, storageTimeoutMs: 60_000 },
  },
};
const CONNECTIONS = 4;

/** What one user sends, and what its calls are made to wait for. */
interface Flood {
  readonly calls: number;
  readonly hold: (url: string, keyId: string) => Promise<HeldLock>;
  readonly send: (eve: Clients, keyId: string) => Promise<unknown>;
}

const EVE = "acme:eve";

const FLOODS: Readonly<Record<string, Flood>> = {
  "500 UpdateKey of one key": {
    calls: 500,
    hold: (url, id) => holdLock(url, (sql) => sql`select from api_key where id = ${id} for update`),
    send: ({ keys }, id) =>
      keys.updateKey({ key: { id, displayName: randomUUID() }, updateMask: { paths: ["display_name"] } }),
  },
  "100 ListAuditEvents": {
    calls: 100,
    hold: (url) => holdLock(url, (sql) => sql`select pg_advisory_xact_lock(${0x7365616c})`),
    send: ({ keys }) => keys.listAuditEvents({}),
  },
  "100 CreateKey at the limit": {
    calls: 100,
    hold: (url) => holdLock(url, (sql) => sql`select from key_owner where id = ${EVE} for update`),
    send: ({ keys }) => keys.createKey({ displayName: "one more" }),
  },
};

const WITHOUT_TURNS: readonly Mutation[] = [
  { file: "src/manage/bulkhead.ts", find: "bulkhead.storageFor(deps.storage, errand)", replace: "deps.storage" },
  {
    file: "src/audit/seal-pending.ts",
    find: "if (next !== undefined) return next;",
    replace: "return sealPending(deps);",
  },
];

const users = createTestUsers();
afterAll(() => users.remove());

/** A server with a database of its own, and floods at it. */
function serve(mutations: readonly Mutation[]) {
  let database: TestDatabase;
  let server: ServerProcess;
  let token: string;

  beforeAll(async () => {
    database = await createTestDatabase();
    const env = {
      ...{ DATABASE_URL: database.url, CLAVIGER_ROOT_SECRETS: TEST_ROOT_SECRET, CLAVIGER_LOG_LEVEL: "error" },
      ...{ CLAVIGER_POLICY: JSON.stringify(POLICY), ...users.settings },
    };
    token = (await bootstrapAdmin(await loadConfig(env))).secret.reveal();
    server = await startServer({ env, mutate: mutations });
  });
  afterAll(async () => {
    await server.stop();
    await database.drop();
  });

  const as = (user: string) => connect(server.url, users.token(user));
  return {
    as,
    admin: () => connect(server.url, token),
    /** Runs `meanwhile` once that many of the flood's calls wait for a lock; the others wait for them, or are refused. */
    async during<T>(flood: Flood, waiters: number, meanwhile: (id: string) => Promise<T>) {
      const admin = connect(server.url, token);
      const { id } = await makeKey(admin, { owner: EVE });
      const eves = Array.from({ length: CONNECTIONS }, () => as("eve"));
      const lock = await flood.hold(database.url, id);
      let pending = flood.calls;
      const sent = Array.from({ length: flood.calls }, (_, call) => {
        const sending = flood.send(eves[call % CONNECTIONS] as Clients, id);
        return sending.catch(() => undefined).finally(() => (pending -= 1));
      });
      try {
        await lock.waiters(waiters);
        return { result: await meanwhile(id), pending };
      } finally {
        await lock.release();
        await Promise.all(sent);
        await admin.keys.revokeKeys({ owner: EVE });
      }
    },
  };
}

describeWithPostgres("while one user floods management", () => {
  const { as, admin, during } = serve([]);

  it.each(Object.entries(FLOODS))("with %s, an administrator revokes keys, and other users go on", async (_, flood) => {
    const made = await Promise.all(Array.from({ length: 5 }, () => makeKey(admin(), { owner: "acme:ada" })));
    const { pending } = await during(flood, 1, async () => {
      for (const { id } of made) await admin().keys.revokeKey({ keyId: id });
      await makeKey(as("bob"), { owner: "" });
      expect((await as("ada").keys.listKeys({})).keys).not.toEqual([]);
    });
    expect(pending).toBeGreaterThan(0);
  });

  it("a caller's calls beyond those that may wait are refused at once, as OVERLOADED, with when to retry", async () => {
    const [flood] = Object.values(FLOODS) as [Flood];
    const { result } = await during(flood, 1, (id) => refusalOf(flood.send(as("eve"), id)));
    expect(result).toMatchObject({ code: "Unavailable", reason: "OVERLOADED", hasRetryInfo: true });
    expect(result.message).toBe(
      "too many management calls are waiting of the same caller (128). Retry shortly with lower concurrency",
    );
  });
});

describeWithPostgres("control: while one user floods management that takes no turns", () => {
  const { admin, during } = serve(WITHOUT_TURNS);

  it.each(Object.entries(FLOODS))("with %s, an administrator's revocation finds no connection", async (_, flood) => {
    const { id } = await makeKey(admin(), { owner: "acme:ada" });
    const revoke = () => refusalOf(admin().keys.revokeKey({ keyId: id }, { timeoutMs: 1000 }));
    const { result } = await during(flood, POOL_SIZE, revoke);
    expect(result.code).toBe("DeadlineExceeded");
  });
});
