import { durationFromMs, timestampMs } from "@bufbuild/protobuf/wkt";
import postgres from "postgres";
import { afterAll, afterEach, beforeAll, expect, inject, it } from "vitest";
import { loadConfig } from "../../src/server/config.ts";
import { openStorage } from "../../src/server/open-storage.ts";
import { ageKey } from "../rpc/age-key.ts";
import { makeKey } from "../rpc/make-key.ts";
import { verdictOf } from "../rpc/verdict-of.ts";
import { startClaviger, TEST_ROOT_SECRET } from "../support/claviger.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";
import { describeWithPgBouncer, describeWithPostgres } from "../support/describe-with.ts";
import { freePort } from "../support/free-port.ts";
import { type PgBouncer, startPgBouncer } from "../support/pgbouncer.ts";
import { startServer } from "../support/server-process.ts";

const DAY_MS = 86_400_000;
const HINT = "set CLAVIGER_LEASE_DATABASE_URL to a direct connection";

describeWithPostgres("A transaction pooler,", () => {
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
      const sql = postgres(database.url, { max: 1, onnotice: () => undefined });
      await work(sql).finally(() => sql.end());
    }
    const settings = (url: string, direct?: string) => ({
      DATABASE_URL: url,
      CLAVIGER_ROOT_SECRETS: TEST_ROOT_SECRET,
      CLAVIGER_POLICY: JSON.stringify({ startPatienceMs: 1 }),
      ...(direct === undefined ? {} : { CLAVIGER_LEASE_DATABASE_URL: direct }),
    });
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

    it("alone stops the start with the setting to use, without a word of listening and without a stack", async () => {
      const failed = startServer({ env: { ...settings(pooler.url), CLAVIGER_LOG_LEVEL: "silent" } });
      const message = await failed.then(
        () => "it started",
        (error: unknown) => String(error),
      );
      expect(message).toContain("ended with code 3");
      expect(message).toContain(HINT);
      expect(message).not.toMatch(/listening on|a defect|\n\s+at /);
    });

    it("alone stops the start though it ignores what it is asked to set, since then nothing is set", async () => {
      const lenient = await startPooler({ ignore_startup_parameters: "extra_float_digits, options" });
      await expect(opening(lenient.url)).rejects.toMatchObject({
        name: "StartupError",
        message: expect.stringMatching(/drops the session settings.*CLAVIGER_LEASE_DATABASE_URL/),
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
  });
});
