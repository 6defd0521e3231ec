import { fileURLToPath } from "node:url";
import { sql } from "drizzle-orm";
import postgres from "postgres";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Verdict } from "#gen/claviger/v1/key_verifier_pb.js";
import { loadConfig } from "../../src/server/config/config.ts";
import { openStorage } from "../../src/server/open/open-storage.ts";
import { connect, startClaviger, TEST_ROOT_SECRET } from "../../testkit/claviger.ts";
import { describeWithPostgres } from "../../testkit/describe-with.ts";
import { type PostgresServer, startPostgresServer } from "../../testkit/postgres-server.ts";
import { runProgram } from "../../testkit/run-program.ts";
import { startServer } from "../../testkit/server-process.ts";
import { makeKey } from "../rpc/make-key.ts";

const BIN = fileURLToPath(new URL("../../bin/claviger.js", import.meta.url));
/** What may not be done to the database by whoever serves. */
const FORBIDDEN = [
  "update audit_event set details = '{}'",
  "delete from audit_event",
  "truncate audit_event",
  "update audit_seal set hash = hash",
  "delete from audit_seal",
  "alter table api_key add column x int",
  "create table intruder (x int)",
  "drop table audit_seal",
  "delete from key_owner",
  "delete from secret_version",
  "update drizzle.__drizzle_migrations set hash = ''",
];
const DENIED = { code: "42501" };

describe("a service that connects as a role of its own", () => {
  let server: PostgresServer;
  let superuser: postgres.Sql;

  beforeAll(async () => {
    server = await startPostgresServer();
    superuser = postgres(server.url, { max: 1, onnotice: () => undefined });
    await superuser`create role claviger_migrate login createrole`;
    await superuser`create role claviger_app nologin admin claviger_migrate`;
    await superuser`create role service login in role claviger_app`;
    await superuser`create role outsider login`;
    await superuser`create database claviger owner claviger_migrate`;
  });
  afterAll(async () => {
    await superuser?.end();
    await server?.stop();
  });

  const settingsOf = (user: string) => ({
    DATABASE_URL: `postgres://${user}@127.0.0.1:${server.port}/claviger`,
    CLAVIGER_ROOT_SECRETS: TEST_ROOT_SECRET,
    CLAVIGER_LOG_LEVEL: "silent",
  });
  const claviger = (user: string, ...args: string[]) =>
    runProgram(process.execPath, [BIN, ...args], { env: settingsOf(user) });
  const connectAs = (user: string) => postgres(settingsOf(user).DATABASE_URL, { max: 1, onnotice: () => undefined });

  it("is told to have the owner migrate while the schema is behind, and changes nothing", async () => {
    const refused = await claviger("service", "migrate");
    expect(refused).toMatchObject({ code: 3, stdout: "" });
    expect(refused.stderr).toContain("Run `claviger migrate` as the owner of the schema first");
    await expect(startServer({ env: settingsOf("service") })).rejects.toThrow("as the owner of the schema first");

    const migrated = await claviger("claviger_migrate", "migrate");
    expect(migrated).toMatchObject({ code: 0, stderr: "" });
    expect(await claviger("service", "migrate")).toMatchObject({ code: 0 });
  });

  it("serves, with the owner's rights nowhere", async () => {
    const { stdout } = await claviger("service", "bootstrap", "--json");
    const running = await startServer({ env: settingsOf("service") });
    try {
      const { keys, verifier } = connect(running.url, JSON.parse(stdout).secret);
      const { id: keyId, secret } = await makeKey({ keys, verifier }, { owner: "role" });
      await keys.rotateKey({ keyId });
      await keys.revokeKey({ keyId });
      expect((await verifier.verify({ secret })).verdict).toBe(Verdict.REVOKED);
      expect((await keys.listAuditEvents({ keyId })).events).toHaveLength(3);
      await keys.revokeKeys({ owner: "role" });
    } finally {
      expect(await running.stop()).toBe(0);
    }
  });

  it("cannot change what the audit log holds, nor the schema, whether or not it has taken the role", async () => {
    const service = connectAs("service");
    try {
      for (const attempt of FORBIDDEN) await expect(service.unsafe(attempt)).rejects.toMatchObject(DENIED);
      await service`set role claviger_app`;
      for (const attempt of FORBIDDEN) await expect(service.unsafe(attempt)).rejects.toMatchObject(DENIED);
      await expect(service`set role claviger_migrate`).rejects.toMatchObject(DENIED);
    } finally {
      await service.end();
    }
  });

  it("gets no right of the owner where everybody may create functions, as in databases made with Postgres 14", async () => {
    const admin = connectAs("postgres");
    const service = connectAs("service");
    const overloads = ["text, text", "text, text, text", "text, text, timestamptz", "text, text, text, timestamptz"];
    try {
      await admin`grant create on schema public to public`;
      for (const types of overloads) {
        await service.unsafe(`create function public.format(${types}) returns text language plpgsql as $$ begin
          execute 'grant delete on audit_event to service'; return 'select 1'; end $$`);
      }
      await service`select claviger_drop_usage_partitions('100 years', '100 years')`;
      await service`select claviger_make_usage_partitions()`;
      await expect(service`delete from audit_event`).rejects.toMatchObject(DENIED);
    } finally {
      for (const types of overloads) await admin.unsafe(`drop function if exists public.format(${types})`);
      await admin`revoke delete on audit_event from service`;
      await admin`revoke create on schema public from public`;
      await Promise.all([admin.end(), service.end()]);
    }
  });

  it("control: the owner of the schema can", async () => {
    const owner = connectAs("claviger_migrate");
    try {
      for (const attempt of FORBIDDEN) {
        await owner`begin`;
        await owner.unsafe(attempt).catch((error: unknown) => expect(error).not.toMatchObject(DENIED));
        await owner`rollback`;
      }
    } finally {
      await owner.end();
    }
  });

  it("works as claviger_app, under its time limits", async () => {
    const opened = await openStorage(await loadConfig(settingsOf("service")));
    const bare = connectAs("service");
    try {
      const rows = await opened.storage.read((database) =>
        database
          .select({
            user: sql<string>`current_user`,
            statement: sql<string>`current_setting('statement_timeout')`,
            lock: sql<string>`current_setting('lock_timeout')`,
            idle: sql<string>`current_setting('idle_in_transaction_session_timeout')`,
          })
          .from(sql`(select 1) as one`),
      );
      expect(rows).toEqual([{ user: "claviger_app", statement: "10s", lock: "5s", idle: "1s" }]);
      expect(await bare`show statement_timeout`).toEqual([{ statement_timeout: "0" }]);
    } finally {
      await bare.end();
      await opened.close();
    }
  });

  it("sees its statements and its waits for locks ended by Postgres", async () => {
    const limits = { postgres: { statementTimeoutMs: 300, lockTimeoutMs: 100 } };
    const opened = await openStorage(
      await loadConfig({ ...settingsOf("service"), CLAVIGER_POLICY: JSON.stringify(limits) }),
    );
    try {
      const slow = opened.storage.read((database) => database.execute(sql`select pg_sleep(20)`));
      await expect(slow).rejects.toMatchObject({ reason: "STORAGE_UNAVAILABLE", cause: { code: "57014" } });
      await superuser`select 1`;
      const owner = connectAs("claviger_migrate");
      await owner`begin`;
      await owner`select id from revision where id = 1 for update`;
      const waits = opened.storage.read((database) =>
        database.execute(sql`select id from revision where id = 1 for update`),
      );
      await expect(waits).rejects.toMatchObject({ reason: "STORAGE_UNAVAILABLE", cause: { code: "55P03" } });
      await owner`rollback`;
      await owner.end();
    } finally {
      await opened.close();
    }
  });

  it("is refused where it has no rights at all", async () => {
    const refused = await claviger("outsider", "bootstrap");
    expect(refused).toMatchObject({ code: 3, stdout: "" });
    expect(refused.stderr).toContain("permission denied");
  });
});

describeWithPostgres("a service that connects as the owner", () => {
  it("takes claviger_app all the same", async () => {
    const claviger = await startClaviger("postgres");
    try {
      const rows = await claviger.storage.read((database) =>
        database.select({ user: sql<string>`current_user` }).from(sql`(select 1) as one`),
      );
      expect(rows).toEqual([{ user: "claviger_app" }]);
    } finally {
      await claviger.close();
    }
  });
});
