import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import postgres from "postgres";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startClaviger, TEST_ROOT_SECRET, type TestClaviger } from "../../testkit/claviger.ts";
import { describeWithPostgres } from "../../testkit/describe-with.ts";
import { runProgram } from "../../testkit/run-program.ts";
import { makeKey } from "../rpc/make-key.ts";

const BIN = fileURLToPath(new URL("../../bin/claviger.js", import.meta.url));

describeWithPostgres("`claviger audit`, beside a server that runs", () => {
  let claviger: TestClaviger;
  let superuser: postgres.Sql;
  let folder: string;
  let keyId: string;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "claviger-audit-"));
    claviger = await startClaviger("postgres");
    superuser = postgres(claviger.databaseUrl ?? "", { max: 1, onnotice: () => undefined });
    keyId = (await makeKey(claviger.admin, { owner: "cli" })).id;
    await claviger.admin.keys.rotateKey({ keyId });
    await claviger.admin.keys.revokeKey({ keyId });
  });
  afterAll(async () => {
    await superuser.end();
    await claviger.close();
    await rm(folder, { recursive: true, force: true });
  });

  const audit = (...args: string[]) =>
    runProgram(process.execPath, [BIN, "audit", ...args], {
      env: {
        DATABASE_URL: claviger.databaseUrl ?? "",
        CLAVIGER_ROOT_SECRETS: TEST_ROOT_SECRET,
        CLAVIGER_URL: claviger.url,
        CLAVIGER_TOKEN: claviger.adminToken,
      },
    });

  it("lists what happened to a key, newest first", async () => {
    const table = await audit("list", "--key", keyId);
    expect(table).toMatchObject({ code: 0, stderr: "" });
    const actions = [...table.stdout.matchAll(/key\.\w+/g)].map(([action]) => action);
    expect(actions).toEqual(["key.revoked", "key.rotated", "key.created"]);
    const json = await audit("list", "--key", keyId, "--json", "--page-size", "1");
    const { events, nextPageToken } = JSON.parse(json.stdout);
    expect(events).toMatchObject([{ action: "key.revoked", keyId, owner: "cli" }]);
    const next = await audit("list", "--key", keyId, "--json", "--page-size", "1", "--page-token", nextPageToken);
    expect(JSON.parse(next.stdout).events).toMatchObject([{ action: "key.rotated" }]);
  });

  it("says that the log is intact, with 0, and prints a signed head that it then agrees with", async () => {
    const head = await audit("head");
    expect(head).toMatchObject({ code: 0, stderr: "" });
    const { sequence, hash } = JSON.parse(head.stdout);
    const kept = join(folder, "intact.json");
    await writeFile(kept, head.stdout);
    const verified = await audit("verify", "--head", kept);
    expect(verified).toMatchObject({ code: 0, stderr: "" });
    expect(verified.stdout).toBe(`the audit log is intact: ${sequence} events, head ${hash}\n`);
    await makeKey(claviger.admin, { owner: "cli-later" });
    expect(await audit("verify", "--head", kept)).toMatchObject({ code: 0 });
  });

  /** Runs `work` on rows tampered with by somebody who owns the database, and puts them back. */
  async function tampered<T>(tamper: (sql: postgres.Sql) => Promise<unknown>, work: () => Promise<T>): Promise<T> {
    await superuser`set session_replication_role = replica`;
    await superuser`create table kept_event as table audit_event`;
    await superuser`create table kept_seal as table audit_seal`;
    try {
      await tamper(superuser);
      return await work();
    } finally {
      await superuser`delete from audit_event where id in (select id from kept_event)`;
      await superuser`insert into audit_event table kept_event`;
      await superuser`delete from audit_seal where sequence in (select sequence from kept_seal)`;
      await superuser`insert into audit_seal table kept_seal`;
      await superuser`drop table kept_event, kept_seal`;
      await superuser`set session_replication_role = origin`;
    }
  }

  it("names the first row that was edited, with 1, and with its place in JSON", async () => {
    await tampered(
      (sql) =>
        sql`update audit_event set owner = 'eve' where id in (select event_id from audit_seal where sequence = 3)`,
      async () => {
        const verified = await audit("verify");
        expect(verified).toMatchObject({ code: 1, stdout: "" });
        expect(verified.stderr).toMatch(/the audit log is not intact: sequence 3 \(evt_\w+\): changed/);
        const json = await audit("verify", "--json");
        expect(json.code).toBe(1);
        expect(JSON.parse(`${json.stdout}${json.stderr}`)).toMatchObject({
          code: "AUDIT_BROKEN",
          metadata: { place: expect.stringMatching(/^sequence 3 /) },
        });
      },
    );
    expect(await audit("verify")).toMatchObject({ code: 0 });
  });

  it("sees a cut-off end with a kept head, and without one says that the log is intact", async () => {
    const kept = join(folder, "cut-off.json");
    const head = await audit("head");
    await writeFile(kept, head.stdout);
    const cutOff = async (sql: postgres.Sql) => {
      await sql`delete from audit_event where id in (select event_id from audit_seal where sequence > 2)`;
      await sql`delete from audit_seal where sequence > 2`;
    };
    await tampered(cutOff, async () => {
      const verified = await audit("verify", "--head", kept);
      expect(verified).toMatchObject({ code: 1, stdout: "" });
      expect(verified.stderr).toContain("sequence 3: removed");
      expect(await audit("verify")).toMatchObject({ code: 0 });
    });
  });

  it("says with 4 that an event under an unknown root secret cannot be checked, and does not seal or list it", async () => {
    const id = "evt_01m8pmzzzzzzzzzzzzzzzzzzzz";
    await superuser`insert into audit_event (id, time, actor, action, outcome, key_id, owner, request_id, details, root, mac)
      values (${id}, now(), '{"kind":"user","subject":"innocent-bob","keyId":"","address":"10.0.0.1"}', 'key.revoked', 'done',
        ${keyId}, 'cli', '', '{}', '0123456789abcdef', '\\x00')`;
    await superuser`insert into audit_pending (event_id) values (${id})`;
    try {
      expect((await audit("list", "--page-size", "100")).stdout).not.toContain("innocent-bob");
      const verified = await audit("verify");
      expect(verified).toMatchObject({ code: 4, stdout: "" });
      expect(verified.stderr).toContain("intact as far as it can be checked: 1 of ");
      expect(verified.stderr).toContain(id);
      const json = await audit("verify", "--json");
      expect(JSON.parse(`${json.stdout}${json.stderr}`)).toMatchObject({
        code: "AUDIT_UNCHECKED",
        metadata: { unchecked: "1", place: id },
      });
    } finally {
      await superuser`delete from audit_pending where event_id = ${id}`;
      await superuser`delete from audit_event where id = ${id}`;
    }
  });

  it("refuses a file that is no head, with 2", async () => {
    const file = join(folder, "no-head.json");
    await writeFile(file, "{}");
    for (const path of [file, join(folder, "missing.json")]) {
      const verified = await audit("verify", "--head", path);
      expect(verified).toMatchObject({ code: 2, stdout: "" });
      expect(verified.stderr).toContain("claviger audit head");
    }
  });
});

describe("`claviger audit` on an embedded folder that a server holds", () => {
  it("refuses with the server's pid", async () => {
    const folder = await mkdtemp(join(tmpdir(), "claviger-audit-held-"));
    const claviger = await startClaviger("embedded", { CLAVIGER_DATA_DIR: folder });
    try {
      for (const command of ["verify", "head"]) {
        const env = { CLAVIGER_DATA_DIR: folder };
        const refused = await runProgram(process.execPath, [BIN, "audit", command], { env });
        expect(refused).toMatchObject({ code: 3, stdout: "" });
        expect(refused.stderr).toContain(`held by process ${process.pid}`);
      }
    } finally {
      await claviger.close();
      await rm(folder, { recursive: true, force: true });
    }
  });
});
