import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { durationFromMs, timestampMs } from "@bufbuild/protobuf/wkt";
import { sql } from "drizzle-orm";
import pg from "pg";
import postgres from "postgres";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, inject, it } from "vitest";
import { migrate } from "../../src/postgres/migrate/migrate.ts";
import { readRevision } from "../../src/postgres/revisions.ts";
import type { Database } from "../../src/postgres/storage.ts";
import { bootstrapAdmin } from "../../src/server/bootstrap.ts";
import { loadConfig } from "../../src/server/config/config.ts";
import { openStorage } from "../../src/server/open/open-storage.ts";
import { startClaviger, TEST_ROOT_SECRET } from "../../testkit/claviger.ts";
import { type Clients, connect } from "../../testkit/connect.ts";
import { createDatabase, createTestDatabase, type TestDatabase } from "../../testkit/database.ts";
import { describeWithPgBouncer, describeWithPostgres } from "../../testkit/describe-with.ts";
import { eventually } from "../../testkit/eventually.ts";
import { freePort } from "../../testkit/free-port.ts";
import { spawnGuarded } from "../../testkit/guarded-process.ts";
import { type PgBouncer, startPgBouncer } from "../../testkit/pgbouncer.ts";
import { inheritedEnv, type ServerProcess, startServer } from "../../testkit/server-process.ts";
import { ageKey } from "../rpc/age-key.ts";
import { makeKey } from "../rpc/make-key.ts";
import { verdictOf } from "../rpc/verdict-of.ts";
import { startLoad } from "./load.ts";

const DAY_MS = 86_400_000;
const BIN = fileURLToPath(new URL("../../bin/claviger.js", import.meta.url));
/** Settings of a database under which Claviger would give wrong answers. */
const HOSTILE = [
  "datestyle = 'German'",
  "search_path = decoy",
  "default_transaction_isolation = 'serializable'",
  "default_transaction_read_only = on",
  "synchronous_commit = off",
];

describeWithPostgres("A connection pooler,", () => {
  describeWithPgBouncer("PgBouncer as it comes,", () => {
    let database: TestDatabase;
    const poolers: PgBouncer[] = [];
    let pooler: PgBouncer;

    async function startPooler(settings: Readonly<Record<string, string>> = {}): Promise<PgBouncer> {
      const started = await startPgBouncer({ command: inject("pgbouncer") ?? "", databaseUrl: database.url, settings });
      poolers.push(started);
      return started;
    }
    beforeAll(async () => {
      database = await createTestDatabase();
      pooler = await startPooler();
    });
    afterEach(() => administer((sql) => sql.unsafe(`alter database "${nameOf(database.url)}" reset all`)));
    afterAll(async () => {
      await Promise.all(poolers.map((each) => each.stop()));
      await database?.drop();
    });

    const nameOf = (url: string) => new URL(url).pathname.slice(1);
    async function administer(work: (sql: postgres.Sql) => Promise<unknown>): Promise<void> {
      const connection = { options: "-c default_transaction_read_only=off" };
      const sql = postgres(database.url, { max: 1, onnotice: () => undefined, connection } as object);
      await work(sql).finally(() => sql.end());
    }
    const settings = (url: string, direct?: string) => ({
      DATABASE_URL: url,
      CLAVIGER_ROOT_SECRETS: TEST_ROOT_SECRET,
      CLAVIGER_POLICY: JSON.stringify({ postgres: { startPatienceMs: 1 } }),
      ...(direct === undefined ? {} : { CLAVIGER_LEASE_DATABASE_URL: direct }),
    });
    async function adminToken(url: string): Promise<string> {
      const config = await loadConfig({ ...settings(url), CLAVIGER_LOG_LEVEL: "silent" });
      return (await bootstrapAdmin(config)).secret.reveal();
    }
    /** What is set in the sessions that clients of the pooler are given, each asked by a client of its own. */
    async function sessionsOf(url: string) {
      const clients = Array.from({ length: 4 }, () => new pg.Client({ connectionString: url }));
      try {
        return await Promise.all(
          clients.map(async (client) => {
            await client.connect();
            const { rows } = await client.query(
              `select pg_backend_pid() as pid, current_setting('claviger.session', true) as mark,
                current_setting('role') as role, current_setting('statement_timeout') as timeout, pg_sleep(0.1)`,
            );
            return rows[0] as { readonly mark: string | null; readonly role: string; readonly timeout: string };
          }),
        );
      } finally {
        await Promise.all(clients.map((client) => client.end()));
      }
    }
    const opening = async (url: string, direct?: string) => {
      const opened = await openStorage(await loadConfig(settings(url, direct)));
      await opened.close();
    };

    it.each(["ISO, MDY", "German", "SQL, DMY"])(
      "serves beside a direct connection for the rest, though the database writes dates in style %s",
      async (style) => {
        await administer((sql) => sql.unsafe(`alter database "${nameOf(database.url)}" set datestyle = '${style}'`));
        const behind = await startPooler();
        const claviger = await startClaviger("postgres", settings(behind.url, database.url));
        try {
          const { admin, storage } = claviger;
          for (let round = 0; round < 4; round++) {
            const made = await Promise.all(
              Array.from({ length: 8 }, (_, at) =>
                makeKey(admin, { owner: `pool-${style}-${round}-${at}`, ttl: durationFromMs(DAY_MS) }),
              ),
            );
            const verified = await Promise.all(made.map(({ secret }) => admin.verifier.verify({ secret })));
            for (const [at, { secretExpireTime }] of verified.entries()) {
              const { expireTime } = made[at]?.key ?? {};
              if (secretExpireTime === undefined || expireTime === undefined) throw new Error("no end");
              expect(timestampMs(secretExpireTime)).toBe(timestampMs(expireTime));
            }
          }
          const late = await makeKey(admin, { owner: "pool-late", ttl: durationFromMs(DAY_MS) });
          await ageKey(storage, late.id, 31 * DAY_MS);
          expect(await verdictOf(admin, late.secret)).toBe("EXPIRED");
          const ended = await makeKey(admin, { owner: "pool-ended" });
          await admin.keys.rotateKey({ keyId: ended.id, gracePeriod: durationFromMs(0) });
          expect(await verdictOf(admin, ended.secret)).toBe("RETIRED");
        } finally {
          await claviger.close();
        }
      },
    );

    /** The pooler alone, in each of its modes, as it comes and where it drops what it is asked to set. */
    const alone: readonly (readonly [string, Readonly<Record<string, string>>])[] = [
      ["in transaction mode", {}],
      ["in transaction mode, which ignores options", { ignore_startup_parameters: "extra_float_digits, options" }],
      ["in session mode", { pool_mode: "session", default_pool_size: "40" }],
    ];
    it.each(alone)("alone and %s serves, warns, and leaves nothing on its connections", async (_mode, mode) => {
      await administer(async (sql) => {
        await sql.unsafe("create schema if not exists decoy; create table if not exists decoy.api_key (id text)");
        for (const hostile of HOSTILE) await sql.unsafe(`alter database "${nameOf(database.url)}" set ${hostile}`);
      });
      const behind = await startPooler(mode);
      const server = await startServer({ env: { ...settings(behind.url), CLAVIGER_LOG_LEVEL: "warn" } });
      try {
        const clients = connect(server.url, await adminToken(behind.url));
        const made = await Promise.all(
          Array.from({ length: 8 }, (_, at) => makeKey(clients, { owner: `alone-${at}`, ttl: durationFromMs(DAY_MS) })),
        );
        for (const { secret, id } of made) {
          expect(await verdictOf(clients, secret)).toBe("VALID");
          await clients.keys.revokeKey({ keyId: id });
          expect(await verdictOf(clients, secret)).toBe("REVOKED");
        }
        expect(server.stderr().match(/leads to a connection pooler/g)).toHaveLength(1);
        const seen = await sessionsOf(behind.url);
        expect(seen.filter(({ mark, role, timeout }) => mark === "on" || role !== "none" || timeout !== "0")).toEqual(
          [],
        );
        expect(seen.length).toBeGreaterThan(0);
      } finally {
        await server.stop();
        await administer((sql) => sql.unsafe("drop schema decoy cascade"));
      }
    });

    it("alone runs each transaction with what answers need, whatever the database is set to", async () => {
      await administer(async (sql) => {
        for (const hostile of HOSTILE) await sql.unsafe(`alter database "${nameOf(database.url)}" set ${hostile}`);
      });
      const behind = await startPooler();
      const opened = await openStorage(await loadConfig({ ...settings(behind.url), CLAVIGER_LOG_LEVEL: "silent" }));
      try {
        const shown = (at: Database) =>
          at.select({
            style: sql<string>`current_setting('datestyle')`,
            isolation: sql<string>`current_setting('transaction_isolation')`,
            readOnly: sql<string>`current_setting('transaction_read_only')`,
            commit: sql<string>`current_setting('synchronous_commit')`,
            path: sql<string>`current_setting('search_path')`,
            timeout: sql<string>`current_setting('statement_timeout')`,
            role: sql<string>`current_user`,
          });
        const expected = {
          ...{ style: expect.stringMatching(/^ISO/), isolation: "read committed", readOnly: "off", commit: "on" },
          ...{ path: "public, pg_temp", timeout: expect.not.stringMatching(/^0$/), role: "claviger_app" },
        };
        const { storage, leases } = opened;
        expect(await storage.read(async (at) => shown(at).from(sql`(select 1) as one`))).toEqual([expected]);
        expect(await storage.transaction(async (at) => shown(at).from(sql`(select 1) as one`))).toEqual([expected]);
        expect(await leases.write(async (at) => shown(at).from(sql`(select 1) as one`))).toEqual([expected]);
      } finally {
        await opened.close();
      }
    });

    it("alone gives no answer of another database than the one that leases are registered in", async () => {
      const opened = await openStorage(await loadConfig({ ...settings(pooler.url), CLAVIGER_LOG_LEVEL: "silent" }));
      try {
        await opened.storage.read(readRevision);
        opened.expect("another");
        for (const work of [() => opened.storage.read(readRevision), () => opened.storage.transaction(readRevision)]) {
          await expect(work()).rejects.toMatchObject({ reason: "STORAGE_UNAVAILABLE" });
        }
      } finally {
        await opened.close();
      }
    });

    describe("that migrations go through,", () => {
      let empty: TestDatabase;
      let behind: PgBouncer;
      const MIGRATION_LOCK = 0x636c6176;
      const holders = (at: postgres.Sql) =>
        at<{ pid: number; state: string }[]>`select pid, state from pg_locks join pg_stat_activity using (pid)
          where locktype = 'advisory' and objid = ${MIGRATION_LOCK} and granted and datname = current_database()`;
      const inEmpty = async <T>(work: (sql: postgres.Sql) => Promise<T>): Promise<T> => {
        const sql = postgres(empty.url, { max: 1, onnotice: () => undefined });
        return await work(sql).finally(() => sql.end());
      };

      beforeEach(async () => {
        empty = await createDatabase({ adminUrl: inject("postgres")?.adminUrl ?? "" });
        const command = inject("pgbouncer") ?? "";
        behind = await startPgBouncer({ command, databaseUrl: empty.url });
        poolers.push(behind);
      });
      afterEach(() => empty.drop());

      it("keeps no lock of them, and the control does: a session's lock stays on an idle connection", async () => {
        const first = await startServer({ env: settings(behind.url) });
        await first.stop();
        expect(await inEmpty(holders)).toEqual([]);
        await inEmpty((sql) => sql`delete from drizzle.__drizzle_migrations`);
        await inEmpty((sql) => sql.unsafe("drop schema public cascade; create schema public"));
        const mutate = [
          { file: "src/postgres/migrate/migrate.ts", find: "pg_advisory_xact_lock", replace: "pg_advisory_lock" },
        ];
        const control = await startServer({ env: settings(behind.url), mutate });
        await control.stop();
        expect(await inEmpty(holders)).toMatchObject([{ state: "idle" }]);
      });

      it("lets the next start come up after a migrating process was killed in the middle", async () => {
        await inEmpty(async (sql) => {
          // Makes the migration wait in the middle, with its lock.
          await sql.unsafe("begin; create schema drizzle");
          const killed = await spawnGuarded({
            command: process.execPath,
            args: [BIN, "migrate"],
            spawn: { env: { ...inheritedEnv(), ...settings(behind.url) } },
          });
          await eventually(async () => expect(await inEmpty(holders)).toHaveLength(1), { withinMs: 30_000 });
          killed.child.kill("SIGKILL");
          await killed.exited;
          await sql.unsafe("rollback");
        });
        const server = await startServer({ env: settings(behind.url) });
        expect(await server.stop()).toBe(0);
        expect(await inEmpty(holders)).toEqual([]);
      });

      it("says after a few seconds which process holds their lock, and comes up once that is gone", async () => {
        await inEmpty(async (sql) => {
          await sql`select pg_advisory_lock(${MIGRATION_LOCK})`;
          const [own] = await sql<{ pid: number }[]>`select pg_backend_pid() as pid`;
          const waits: string[] = [];
          const migrating = migrate({ databaseUrl: behind.url, onWait: (problem) => waits.push(problem) });
          await eventually(() => expect(waits).toHaveLength(1), { withinMs: 20_000 });
          expect(waits[0]).toContain(`process ${own?.pid} of Postgres`);
          expect(waits[0]).toContain(`select pg_terminate_backend(${own?.pid})`);
          await sql`select pg_advisory_unlock(${MIGRATION_LOCK})`;
          expect(await migrating).toMatchObject({ isPooled: true });
          expect(waits).toHaveLength(1);
        });
      });
    });

    it("that takes no connection stops the start, though the direct one does", async () => {
      const nobody = new URL(pooler.url);
      nobody.port = String(await freePort());
      const other = new URL(pooler.url);
      other.pathname = "/unknown";
      for (const [url, reason] of [
        [nobody.href, "ECONNREFUSED"],
        [other.href, "unknown"],
      ] as const) {
        await expect(opening(url, database.url)).rejects.toMatchObject({
          name: "StartupError",
          message: expect.stringMatching(new RegExp(`${reason}.*correct DATABASE_URL$`)),
        });
      }
    });

    it("stops the start where search_path leads elsewhere from what reads through it", async () => {
      await administer(async (sql) => {
        await sql.unsafe("create schema decoy; create table decoy.api_key (id text)");
        await sql.unsafe(`alter database "${nameOf(database.url)}" set search_path = decoy`);
      });
      try {
        const behind = await startPooler();
        await expect(opening(behind.url, database.url)).rejects.toMatchObject({
          name: "StartupError",
          message: expect.stringContaining("search_path does not lead to the tables in schema public"),
        });
      } finally {
        await administer((sql) => sql.unsafe("drop schema decoy cascade"));
      }
    });

    const live: readonly (readonly [string, Readonly<Record<string, string>>, boolean])[] = [
      ["in transaction mode, leases past it", {}, true],
      ["in transaction mode, alone", { default_pool_size: "20" }, false],
      ["in session mode, alone", { pool_mode: "session", default_pool_size: "60" }, false],
    ];
    describe.each(live)("%s,", (_mode, mode, isPast) => {
      let behind: PgBouncer;
      let servers: ServerProcess[];
      let nodes: Clients[];

      beforeAll(async () => {
        behind = await startPooler(mode);
        const token = await adminToken(database.url);
        const env = settings(behind.url, isPast ? database.url : undefined);
        const one = () => startServer({ env: { ...env, CLAVIGER_LEASE_MS: "1000", CLAVIGER_LOG_LEVEL: "warn" } });
        servers = [await one(), await one()];
        nodes = servers.map(({ url }) => connect(url, token));
      }, 120_000);
      afterAll(() => Promise.all((servers ?? []).map((server) => server.stop())));

      const faults: [string, () => Promise<void>][] = [
        ["is killed and started again", () => behind.restart()],
        ["connects anew", () => behind.administer("RECONNECT")],
      ];
      async function pause(): Promise<void> {
        await behind.administer("PAUSE");
        await sleep(2000);
        await behind.administer("RESUME");
      }
      // In session mode PgBouncer pauses only once its clients have left.
      if (mode.pool_mode !== "session") faults.push(["pauses and resumes", pause]);
      it.each(faults)(
        "no revoked key is VALID and all works again when it %s",
        async (_fault, strike) => {
          const load = startLoad(nodes);
          try {
            await load.works();
            await strike();
            await load.works();
          } finally {
            await load.stop();
          }
          expect(load.violations).toEqual([]);
          expect(load.defects).toEqual([]);
          for (const server of servers) expect(server.stderr()).not.toMatch(/prepared statement|unsupported startup/);
        },
        180_000,
      );
    });

    it("control: the load finds a node that takes no notice of revocations", async () => {
      const mutate = [
        { file: "src/verify/decide.ts", find: 'if (key.revokeTime !== null) return "revoked";', replace: "" },
      ];
      const env = { ...settings(pooler.url, database.url), CLAVIGER_LEASE_MS: "1000", CLAVIGER_LOG_LEVEL: "silent" };
      const deaf = await startServer({ env, mutate });
      const load = startLoad([connect(deaf.url, await adminToken(database.url))]);
      try {
        await eventually(() => expect(load.violations.length).toBeGreaterThan(0), { withinMs: 30_000 });
      } finally {
        await load.stop();
        await deaf.stop();
      }
    }, 60_000);
  });
});
