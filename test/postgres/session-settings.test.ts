import { durationFromMs, timestampFromMs, timestampMs } from "@bufbuild/protobuf/wkt";
import { sql } from "drizzle-orm";
import postgres from "postgres";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { Verdict } from "#gen/claviger/v1/key_verifier_pb.js";
import { ANSWERS, startupOptions } from "../../src/postgres/connect/session.ts";
import { nameOf } from "../../src/rpc/codec/from-proto.ts";
import { bootstrapAdmin } from "../../src/server/bootstrap.ts";
import { loadConfig } from "../../src/server/config/config.ts";
import { openStorage } from "../../src/server/open/open-storage.ts";
import { connect, startClaviger, TEST_ROOT_SECRET, type TestClaviger } from "../../testkit/claviger.ts";
import { describeWithPostgres } from "../../testkit/describe-with.ts";
import { eventually } from "../../testkit/eventually.ts";
import type { Mutation } from "../../testkit/mutation.ts";
import { type PostgresServer, startPostgresServer } from "../../testkit/postgres-server.ts";
import { refusalOf } from "../../testkit/refusal.ts";
import { startServer } from "../../testkit/server-process.ts";
import { ageKey } from "../rpc/age-key.ts";
import { makeKey } from "../rpc/make-key.ts";
import { verdictOf } from "../rpc/verdict-of.ts";

/** A value for each setting that answers depend on, under which Claviger would answer otherwise, or not at all. */
const HOSTILE: Readonly<Record<string, string>> = {
  DateStyle: "German",
  IntervalStyle: "iso_8601",
  TimeZone: "Asia/Kathmandu",
  bytea_output: "escape",
  extra_float_digits: "-15",
  standard_conforming_strings: "off",
  array_nulls: "off",
  transform_null_equals: "on",
  search_path: "decoy",
  row_security: "on",
  gin_fuzzy_search_limit: "1",
  default_transaction_isolation: "serializable",
  default_transaction_read_only: "on",
  default_transaction_deferrable: "on",
  synchronous_commit: "off",
  exit_on_error: "on",
  idle_session_timeout: "1",
  jit: "on",
  statement_timeout: "1",
  lock_timeout: "1",
  idle_in_transaction_session_timeout: "1",
};
const USER = "claviger_owner";
const NO_LIMITS = { statementTimeoutMs: 0, lockTimeoutMs: 0, idleInTransactionTimeoutMs: 0 };
const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

/** Where settings come from: how to set one, and how to take all back. */
const LEVELS = {
  database: { set: "alter database claviger set", reset: "alter database claviger reset all" },
  role: { set: `alter role ${USER} set`, reset: `alter role ${USER} reset all` },
  server: { set: "alter system set", reset: "alter system reset all" },
} as const;

describeWithPostgres("Whatever the database, the role or the server is set to,", () => {
  let server: PostgresServer;
  /** Of a session that pins what Claviger pins. */
  let admin: postgres.Sql;
  let inDatabase: postgres.Sql;
  let url: string;

  beforeAll(async () => {
    server = await startPostgresServer({ settings: { jit_above_cost: "0" } });
    const options = { max: 1, onnotice: () => undefined, connection: { options: startupOptions(NO_LIMITS, {}) } };
    admin = postgres(server.url, options as object);
    await admin.unsafe(`create role ${USER} login createrole`);
    await admin.unsafe(`create database claviger owner ${USER} template template0 encoding 'UTF8'`);
    inDatabase = postgres(server.url.replace(/\/postgres$/, "/claviger"), options as object);
    for (const table of ["api_key", "secret_version", "revision"]) {
      await inDatabase.unsafe(`create schema if not exists decoy; create table decoy.${table} (id text)`);
    }
    await inDatabase.unsafe(`grant usage on schema decoy to public`);
    url = `postgres://${USER}@127.0.0.1:${server.port}/claviger`;
  });
  afterAll(async () => {
    await inDatabase?.end();
    await admin?.end();
    await server?.stop();
  });

  async function setAll(level: keyof typeof LEVELS, settings: Readonly<Record<string, string>>): Promise<void> {
    for (const [name, value] of Object.entries(settings)) {
      await admin.unsafe(`${LEVELS[level].set} ${name} = '${value}'`);
    }
    await admin`select pg_reload_conf()`;
  }
  afterEach(async () => {
    for (const { reset } of Object.values(LEVELS)) await admin.unsafe(reset);
    await admin`select pg_reload_conf()`;
  });
  const cutOff = () =>
    admin`select pg_terminate_backend(pid) from pg_stat_activity where datname = 'claviger' and usename = ${USER}`;

  const settings = () => ({
    DATABASE_URL: url,
    CLAVIGER_ROOT_SECRETS: TEST_ROOT_SECRET,
    CLAVIGER_POLICY: '{"postgres": {"startPatienceMs": 1}}',
  });
  const start = () => startClaviger("postgres", { ...settings(), CLAVIGER_POLICY: '{"usage": {"flushMs": 50}}' });
  const open = async () => openStorage(await loadConfig(settings()));

  let owners = 0;
  /** What a caller is told about keys whose story is always the same. */
  async function answers({ admin: clients, storage }: TestClaviger) {
    const owner = `owner-${++owners}`;
    const label = { story: owner };
    const made = await makeKey(clients, {
      owner,
      labels: label,
      scopes: ["a:read", "null"],
      ttl: durationFromMs(DAY_MS),
    });
    const rotated = await makeKey(clients, { owner, labels: label });
    const grace = await clients.keys.rotateKey({ keyId: rotated.id, gracePeriod: durationFromMs(HOUR_MS) });
    const ended = await makeKey(clients, { owner, labels: label });
    await clients.keys.rotateKey({ keyId: ended.id, gracePeriod: durationFromMs(0) });
    const late = await makeKey(clients, { owner, labels: label, ttl: durationFromMs(DAY_MS) });
    await ageKey(storage, late.id, 31 * DAY_MS);
    const verified = await clients.verifier.verify({ secret: made.secret });
    const verdicts = [];
    for (const { secret } of [made, rotated, ended, late]) verdicts.push(await verdictOf(clients, secret));
    const { keys } = await clients.keys.listKeys({ owner, labelSelector: label });
    const { events } = await clients.keys.listAuditEvents({ keyId: rotated.id });
    const span = { startTime: timestampFromMs(Date.now() - HOUR_MS), endTime: timestampFromMs(Date.now() + HOUR_MS) };
    const total = await eventually(async () => {
      const usage = await clients.keys.queryUsage({ keyId: made.id, ...span });
      expect(Number(usage.total)).toBe(2);
      return Number(usage.total);
    });
    const { keyCount } = await clients.keys.revokeKeys({ labelSelector: label });
    const ms = (time: Parameters<typeof timestampMs>[0] | undefined) =>
      time === undefined ? Number.NaN : timestampMs(time);
    return {
      verdicts,
      total,
      revoked: keyCount,
      keys: keys.length,
      scopes: verified.key?.scopes,
      actions: events.map(({ action }) => action),
      termMs: ms(made.key.expireTime) - ms(made.key.createTime),
      sameEnd: ms(verified.secretExpireTime) === ms(made.key.expireTime),
      graceMs: ms(grace.retiring?.retireTime) - ms(grace.key?.updateTime),
      isNow: Math.abs(ms(made.key.createTime) - Date.now()) < HOUR_MS,
    };
  }
  const RIGHT = {
    verdicts: ["VALID", "VALID", "RETIRED", "EXPIRED"],
    total: 2,
    revoked: 4,
    keys: 4,
    scopes: ["a:read", "null"],
    actions: ["key.rotated", "key.created"],
    termMs: DAY_MS,
    sameEnd: true,
    graceMs: HOUR_MS,
    isNow: true,
  };

  it("the list of hostile values has one for everything that is pinned", () => {
    const limits = ["statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"];
    expect(Object.keys(HOSTILE).sort()).toEqual([...ANSWERS.map(([name]) => name), ...limits].sort());
  });

  describe.each(Object.keys(LEVELS) as (keyof typeof LEVELS)[])("by the %s,", (level) => {
    it("a start on an empty schema migrates, and every answer is right", async () => {
      await inDatabase.unsafe(
        `drop schema public cascade; drop schema if exists drizzle cascade; create schema public authorization pg_database_owner`,
      );
      await setAll(level, HOSTILE);
      const claviger = await start();
      try {
        expect(await answers(claviger)).toEqual(RIGHT);
      } finally {
        await claviger.close();
      }
    });

    it("every answer of a running server stays right when its connections are new", async () => {
      const claviger = await start();
      try {
        await setAll(level, HOSTILE);
        await cutOff();
        await eventually(() => claviger.admin.keys.listKeys({}));
        expect(await answers(claviger)).toEqual(RIGHT);
      } finally {
        await claviger.close();
      }
    });

    it("every connection has what it pins, and control: others have the hostile values", async () => {
      await setAll(level, HOSTILE);
      const names = Object.keys(HOSTILE);
      const shown = (rows: readonly (readonly [string, string])[]) =>
        new Map(rows.map(([name, value]) => [name, value]));
      const query = `select array[${names.map((name) => `current_setting('${name}')`).join(", ")}] as values`;
      const plain = postgres(url, {
        max: 1,
        onnotice: () => undefined,
        connection: { options: "-c statement_timeout=0 -c idle_session_timeout=0" } as object,
      });
      const [hostile] = await plain.unsafe(query).finally(() => plain.end());
      const opened = await open();
      try {
        for (const storage of [opened.storage, opened.misses, opened.leases]) {
          const [row] = await storage.read(async (database) => {
            const result = await database.execute<{ values: string[] }>(sql.raw(query));
            return (result as unknown as { rows: { values: string[] }[] }).rows;
          });
          const pinned = shown(names.map((name, at) => [name, row?.values[at] ?? ""]));
          for (const [name, value] of ANSWERS) {
            if (name === "DateStyle") expect(pinned.get(name)).toMatch(/^ISO, /);
            else expect([name, pinned.get(name)]).toEqual([name, value]);
          }
          const same = names.filter((name, at) => hostile?.values[at] === pinned.get(name));
          expect(same.filter((name) => !["statement_timeout", "idle_session_timeout"].includes(name))).toEqual(
            // What no ordinary connection has otherwise; it is pinned against its being there.
            same.includes("row_security") ? ["row_security"] : [],
          );
        }
      } finally {
        await opened.close();
      }
    });
  });

  it.each(["SQL, DMY", "German", "SQL, MDY", "Postgres, DMY", "Postgres, MDY", "ISO, YMD"])(
    "DateStyle %s: expired is EXPIRED and retired is RETIRED",
    async (style) => {
      const claviger = await start();
      try {
        await setAll("database", { DateStyle: style });
        await cutOff();
        await eventually(() => claviger.admin.keys.listKeys({}));
        expect(await answers(claviger)).toEqual(RIGHT);
      } finally {
        await claviger.close();
      }
    },
  );

  describe("control:", () => {
    const PIN = { file: "src/postgres/connect/session.ts", find: '["DateStyle", "ISO"],', replace: "" };
    const NUMBERS = {
      file: "src/postgres/secrets.ts",
      find: "    expireTime: inEpochMs(secretVersion.expireTime),",
      replace: "    expireTime: secretVersion.expireTime,",
    };
    const STRICT = {
      file: "src/postgres/columns.ts",
      find: 'if (parts === null) throw unreadable("time", value);',
      replace: "if (parts === null) return new Date(value as string);",
    };
    const CLOSED = {
      file: "src/keys/lifecycle.ts",
      find: "return !(secret.expireTime > now);",
      replace: "return secret.expireTime <= now;",
    };
    const READABLE = {
      file: "src/verify/ready-secret.ts",
      find: "if (!hasReadableEnd(secret))",
      replace: "if (false)",
    };

    /** The verdict on a secret that ended on 31 January 2020, by a server without these. */
    async function verdictWithout(mutations: readonly Mutation[]): Promise<string> {
      const adminKey = (await bootstrapAdmin(await loadConfig(settings()))).secret.reveal();
      const running = await startServer({
        env: { ...settings(), CLAVIGER_LOG_LEVEL: "silent", CLAVIGER_VERIFY_ACCESS: "open" },
        mutate: mutations,
      });
      try {
        const { id, secret } = await makeKey(connect(running.url, adminKey), { owner: "control" });
        await inDatabase`update secret_version set create_time = '2020-01-30', expire_time = '2020-01-31' where key_id = ${id}`;
        await setAll("database", { DateStyle: "German" });
        await cutOff();
        const anybody = connect(running.url, undefined);
        return await eventually(async () => {
          const answer = await anybody.verifier.verify({ secret }).then(
            ({ verdict }) => nameOf(Verdict, verdict) ?? "?",
            async (error: unknown) => (await refusalOf(Promise.reject(error))).code,
          );
          expect(answer).not.toBe("Unavailable");
          return answer;
        });
      } finally {
        await running.stop();
      }
    }

    it("without any of its defences, a server calls an expired secret VALID", async () => {
      expect(await verdictWithout([PIN, NUMBERS, STRICT, CLOSED, READABLE])).toBe("VALID");
    });

    it.each([
      ["the pin", [NUMBERS, STRICT, CLOSED, READABLE], "EXPIRED"],
      ["times as numbers", [PIN, STRICT, CLOSED, READABLE], "EXPIRED"],
      ["strict reading", [PIN, NUMBERS, CLOSED, READABLE], "Internal"],
      ["failing closed", [PIN, NUMBERS, STRICT, READABLE], "EXPIRED"],
      ["no decision about an end that is no date", [PIN, NUMBERS, STRICT, CLOSED], "Internal"],
    ] as const)("each of them alone is enough: %s", async (_what, without, answer) => {
      expect(await verdictWithout(without)).toBe(answer);
    });
  });

  describe("a start stops with one sentence where", () => {
    it.each([
      [
        "session_replication_role is replica",
        "alter database claviger set session_replication_role = replica",
        "reset session_replication_role",
      ],
      [
        "connections are not allowed",
        "alter database claviger allow_connections false",
        "is not currently accepting connections",
      ],
      ["the database takes none", "alter database claviger connection limit 0", "too many connections for database"],
      ["the role may not log in", `alter role ${USER} nologin`, "is not permitted to log in"],
      ["the role takes no connection", `alter role ${USER} connection limit 0`, "too many connections for role"],
      ["the database is gone", "alter database claviger rename to elsewhere", 'database "claviger" does not exist'],
      ["rows are hidden", "row security", "row-level security"],
    ])("%s", async (_what, statement, sentence) => {
      await (await open()).close();
      if (statement === "row security") await inDatabase`alter table secret_version enable row level security`;
      else {
        await inDatabase.unsafe("select 1");
        if (statement.includes("rename")) await inDatabase.end();
        await admin.unsafe(statement);
      }
      try {
        const error = await open().then(
          () => undefined,
          (reason: unknown) => reason,
        );
        expect(error).toMatchObject({ name: "StartupError", message: expect.stringContaining(sentence) });
        expect(String(error)).toContain(`127.0.0.1:${server.port}/claviger`);
      } finally {
        await admin.unsafe("alter database elsewhere rename to claviger").catch(() => undefined);
        await admin.unsafe("alter database claviger allow_connections true connection limit -1");
        await admin.unsafe("alter database claviger reset all");
        await admin.unsafe(`alter role ${USER} login connection limit -1`);
        if (statement.includes("rename")) {
          const options = { max: 1, onnotice: () => undefined, connection: { options: startupOptions(NO_LIMITS, {}) } };
          inDatabase = postgres(server.url.replace(/\/postgres$/, "/claviger"), options as object);
        }
        await inDatabase`alter table secret_version disable row level security`;
      }
    });

    it.each(["LATIN1", "SQL_ASCII"])("the encoding is %s", async (encoding) => {
      await admin.unsafe(`create database other encoding '${encoding}' template template0 lc_collate 'C' lc_ctype 'C'`);
      const other = url.replace(/claviger$/, "other");
      try {
        const opening = openStorage(await loadConfig({ ...settings(), DATABASE_URL: other }));
        await expect(opening).rejects.toMatchObject({
          name: "StartupError",
          message: expect.stringContaining(`the encoding of the database is ${encoding}, and Claviger needs UTF8`),
        });
      } finally {
        await admin`drop database other with (force)`;
      }
    });
  });

  it.each([
    [
      "its connections are refused",
      "alter database claviger allow_connections false",
      "alter database claviger allow_connections true",
    ],
    ["its role may not log in", `alter role ${USER} nologin`, `alter role ${USER} login`],
    [
      "its foreign keys are off",
      "alter database claviger set session_replication_role = replica",
      "alter database claviger reset all",
    ],
    ["its role is none", "alter role claviger_app rename to gone", "alter role gone rename to claviger_app"],
  ])(
    "while %s a running server answers STORAGE_UNAVAILABLE, and goes on afterwards",
    async (_what, breakIt, mendIt) => {
      const claviger = await start();
      try {
        const { id, secret } = await makeKey(claviger.admin, { owner: "refused" });
        await inDatabase`select 1`;
        await admin.unsafe(breakIt);
        await cutOff();
        const unavailable = { code: "Unavailable", reason: "STORAGE_UNAVAILABLE", hasRetryInfo: true };
        const { keys, verifier } = claviger.admin;
        await eventually(async () => expect(await refusalOf(verifier.verify({ secret }))).toMatchObject(unavailable));
        for (const call of [
          () => verifier.verify({ secret }),
          () => keys.listKeys({}),
          () => keys.getKey({ keyId: id }),
        ]) {
          expect(await refusalOf(call())).toMatchObject(unavailable);
        }
        expect(await refusalOf(keys.createKey({ owner: "refused", displayName: "k" }))).toMatchObject(unavailable);
        await admin.unsafe(mendIt);
        await eventually(async () => expect(await verdictOf(claviger.admin, secret)).toBe("VALID"));
      } finally {
        await admin.unsafe(mendIt).catch(() => undefined);
        await claviger.close();
      }
    },
  );
});
