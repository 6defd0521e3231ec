import { sql } from "drizzle-orm";
import { drizzle } from "drizzle-orm/postgres-js";
import postgres from "postgres";
import { afterAll, beforeAll, expect, it } from "vitest";
import { sealPending } from "../../src/audit/seal-pending.ts";
import { AuditSigner, CHAIN_START, sealHash } from "../../src/audit/signer.ts";
import { type ChainCheck, type KeptHead, signedHead, verifyChain } from "../../src/audit/verify-chain.ts";
import type { AuditEvent } from "../../src/keys/audit-event.ts";
import { deriveRootKeys } from "../../src/keys/root-secret.ts";
import { findHead, listEvents, walkChain } from "../../src/postgres/audit.ts";
import type { Database } from "../../src/postgres/storage.ts";
import { createLogger } from "../../src/server/observe/logger.ts";
import { startClaviger, TEST_ROOT_SECRET, type TestClaviger } from "../../testkit/claviger.ts";
import { describeWithPostgres } from "../../testkit/describe-with.ts";

const signer = new AuditSigner([deriveRootKeys(Buffer.from(TEST_ROOT_SECRET, "base64"))]);

class RolledBack extends Error {}

describeWithPostgres("the audit log against somebody who owns the database", () => {
  let claviger: TestClaviger;
  let superuser: postgres.Sql;
  let kept: KeptHead | undefined;

  beforeAll(async () => {
    claviger = await startClaviger("postgres");
    const { keys } = claviger.admin;
    const { key } = await keys.createKey({ owner: "tamper", displayName: "k", scopes: ["a:read"] });
    const keyId = key?.id ?? "";
    await keys.rotateKey({ keyId });
    await keys.updateKey({ key: { id: keyId, disabled: true }, updateMask: { paths: ["disabled"] } });
    await keys.revokeKey({ keyId, note: "no longer needed" });
    await keys.createKey({ owner: "tamper", displayName: "another" });
    await sealPending({ storage: claviger.storage, signer, log: createLogger("silent") });
    kept = await signedHead(claviger.storage, signer);
    superuser = postgres(claviger.databaseUrl ?? "", { max: 1, onnotice: () => undefined });
  });
  afterAll(async () => {
    await superuser.end();
    await claviger.close();
  });

  /** Tampers with foreign keys switched off, checks what is then there, and takes it all back. */
  async function checkAfter(
    tamper: (database: Database) => Promise<unknown>,
    head: KeptHead | undefined = undefined,
  ): Promise<ChainCheck> {
    let check: ChainCheck | undefined;
    await drizzle(superuser)
      .transaction(async (transaction) => {
        await transaction.execute(sql`set local session_replication_role = replica`);
        await tamper(transaction);
        check = await verifyChain({ read: (work) => work(transaction) }, signer, head);
        throw new RolledBack();
      })
      .catch((error: unknown) => {
        if (!(error instanceof RolledBack)) throw error;
      });
    if (check === undefined) throw new Error("nothing was checked");
    return check;
  }

  const run = (statement: ReturnType<typeof sql>) => (database: Database) => database.execute(statement);
  const eventAt = (sequence: number) => sql`(select event_id from audit_seal where sequence = ${sequence})`;

  it("is intact as it was written, and ends where its head was kept", async () => {
    const { head, problem } = await checkAfter(async () => undefined, kept);
    expect(problem).toBeUndefined();
    expect(head.sequence).toBeGreaterThanOrEqual(6);
    expect(head.hash.equals(kept?.hash ?? CHAIN_START)).toBe(true);
  });

  it.each([
    ["details", sql`update audit_event set details = '{"fields":[]}' where id = ${eventAt(3)}`],
    ["an actor", sql`update audit_event set actor = jsonb_set(actor, '{subject}', '"eve"') where id = ${eventAt(3)}`],
    ["a time", sql`update audit_event set time = time - interval '1 hour' where id = ${eventAt(3)}`],
    ["an outcome", sql`update audit_event set outcome = 'denied' where id = ${eventAt(3)}`],
    ["a hash", sql`update audit_seal set hash = sha256('x') where sequence = 3`],
  ])("names the row whose %s was edited", async (_what, statement) => {
    expect((await checkAfter(run(statement))).problem?.place).toMatch(/^sequence 3 /);
  });

  it("names the place of an event that was deleted, alone or with its place", async () => {
    const alone = await checkAfter(run(sql`delete from audit_event where id = ${eventAt(4)}`));
    expect(alone.problem).toMatchObject({
      place: expect.stringMatching(/^sequence 4 /),
      what: expect.stringMatching(/^removed/),
    });
    const withPlace = await checkAfter(async (database) => {
      await database.execute(sql`delete from audit_event where id = ${eventAt(4)}`);
      await database.execute(sql`delete from audit_seal where sequence = 4`);
    });
    expect(withPlace.problem).toMatchObject({
      place: expect.stringMatching(/^sequence 4 /),
      what: expect.stringMatching(/^removed/),
    });
  });

  it("names the first of two rows whose contents were swapped", async () => {
    const swap = sql`update audit_event a set details = b.details, action = b.action, mac = b.mac
      from audit_event b
      where (a.id = ${eventAt(2)} and b.id = ${eventAt(3)}) or (a.id = ${eventAt(3)} and b.id = ${eventAt(2)})`;
    expect((await checkAfter(run(swap))).problem?.place).toMatch(/^sequence 2 /);
  });

  it("names the first of two events that changed places", async () => {
    const swapPlaces = await checkAfter(async (database) => {
      const [two, three] = (await walkChain(database, 1, 2)).map((row) => row.eventId);
      await database.execute(sql`update audit_seal set event_id = 'x' where sequence = 2`);
      await database.execute(sql`update audit_seal set event_id = ${two} where sequence = 3`);
      await database.execute(sql`update audit_seal set event_id = ${three} where sequence = 2`);
    });
    expect(swapPlaces.problem?.place).toMatch(/^sequence 2 /);
  });

  const forged: AuditEvent = {
    id: "evt_forged",
    time: new Date(1_800_000_000_000),
    actor: { kind: "user", subject: "mallory", keyId: "", address: "" },
    action: "key.revoked",
    outcome: "done",
    keyId: "key_0",
    owner: "tamper",
    requestId: "",
    details: {},
  };
  const insertForged = sql`insert into audit_event (id, time, actor, action, outcome, key_id, owner, request_id, details, root, mac)
    select ${forged.id}, ${forged.time.toISOString()}::timestamptz, ${JSON.stringify(forged.actor)}::jsonb, ${forged.action},
      ${forged.outcome}, ${forged.keyId}, ${forged.owner}, '', '{}', root, sha256('guess') from audit_event limit 1`;

  it("names an event that was inserted beside the chain", async () => {
    expect((await checkAfter(run(insertForged))).problem).toMatchObject({
      place: forged.id,
      what: expect.stringMatching(/^inserted/),
    });
  });

  it("names an event that was inserted to be sealed by Claviger, which does not seal it", async () => {
    const { head, problem } = await checkAfter(async (database) => {
      await database.execute(insertForged);
      await database.execute(sql`insert into audit_pending (event_id) values (${forged.id})`);
      const storage = { transaction: (work: (transaction: Database) => Promise<unknown>) => work(database) };
      await sealPending({ storage: storage as never, signer, log: createLogger("silent") });
    });
    expect(problem).toMatchObject({ place: forged.id, what: expect.stringMatching(/^inserted/) });
    expect(head.sequence).toBe(kept?.sequence);
  });

  /** What Claviger cannot have written, and cannot even read: each as an assignment to the inserted event. */
  const UNREADABLE: Readonly<Record<string, string>> = {
    "a time after all others": "time = 'infinity'",
    "a time before all others": "time = '-infinity'",
    "a time in the year 200000": "time = '200000-01-01'",
    "a time before Christ": "time = '0044-03-15 BC'",
    "a number for its actor": "actor = '5'",
    "nothing for its actor": "actor = 'null'",
    "a text for its details": `details = '"text"'`,
    "a list for its details": "details = '[1]'",
    "a number that is none in JavaScript": `details = '{"a": 1e999}'`,
    "details 3,000 levels deep": `details = '{"a": ${"[".repeat(3000)}${"]".repeat(3000)}}'`,
    "no time and an unknown root": "root = 'unknown', time = 'infinity'",
  };

  it.each(Object.entries(UNREADABLE))("goes on, and names the event, when one with %s waits", async (_, assignment) => {
    const { head, problem } = await checkAfter(async (database) => {
      await database.execute(insertForged);
      await database.execute(sql`update audit_event set ${sql.raw(assignment)} where id = ${forged.id}`);
      await database.execute(sql`insert into audit_pending (event_id) values (${forged.id})`);
      const storage = { transaction: (work: (transaction: Database) => Promise<unknown>) => work(database) };
      await sealPending({ storage: storage as never, signer, log: createLogger("silent") });
    });
    expect(problem?.place).toBe(forged.id);
    expect(head.sequence).toBe(kept?.sequence);
  });

  it.each(Object.entries(UNREADABLE))(
    "lists the others when one with %s is sealed, and names it",
    async (_, assignment) => {
      await drizzle(superuser)
        .transaction(async (transaction) => {
          await transaction.execute(insertForged);
          await transaction.execute(sql`update audit_event set ${sql.raw(assignment)} where id = ${forged.id}`);
          await transaction.execute(
            sql`insert into audit_seal (sequence, event_id, hash) values (9223372036854775807, ${forged.id}, sha256('x'))`,
          );
          const listed = await listEvents(transaction, {}, { below: undefined, limit: 1000 });
          expect(listed).toHaveLength((kept?.sequence ?? 0) + 1);
          const { problem } = await verifyChain({ read: (work) => work(transaction) }, signer, undefined);
          expect(problem?.place).toContain(forged.id);
          throw new RolledBack();
        })
        .catch((error: unknown) => {
          if (!(error instanceof RolledBack)) throw error;
        });
    },
  );

  it("names an event that was inserted with a correct hash at the end of the chain", async () => {
    const { problem } = await checkAfter(async (database) => {
      const head = await findHead(database);
      const sequence = (head?.sequence ?? 0) + 1;
      const hash = sealHash(head?.hash ?? CHAIN_START, sequence, forged);
      await database.execute(insertForged);
      await database.execute(
        sql`insert into audit_seal (sequence, event_id, hash) values (${sequence}, ${forged.id}, decode(${hash.toString("hex")}, 'hex'))`,
      );
    });
    expect(problem).toMatchObject({
      place: expect.stringContaining(forged.id),
      what: expect.stringMatching(/inserted/),
    });
  });

  const cutOff = async (database: Database) => {
    await database.execute(
      sql`delete from audit_event where id in (select event_id from audit_seal where sequence > 3)`,
    );
    await database.execute(sql`delete from audit_seal where sequence > 3`);
  };

  it("sees a cut-off end against a head that was kept", async () => {
    const { problem } = await checkAfter(cutOff, kept);
    expect(problem).toMatchObject({ place: "sequence 4", what: expect.stringMatching(/^removed/) });
  });

  it("control: without a kept head a cut-off end cannot be seen", async () => {
    expect((await checkAfter(cutOff)).problem).toBeUndefined();
  });

  it("refuses a kept head that was not signed by this Claviger", async () => {
    if (kept === undefined) throw new Error("no head was kept");
    const { problem } = await checkAfter(async () => undefined, { ...kept, sequence: kept.sequence - 1 });
    expect(problem?.place).toBe("the kept head");
  });

  it("cannot be changed by the role that the service runs as", async () => {
    const attempts = [
      sql`update audit_event set details = '{}'`,
      sql`delete from audit_event`,
      sql`truncate audit_event`,
      sql`update audit_seal set hash = hash`,
      sql`delete from audit_seal`,
      sql`alter table audit_event add column x int`,
      sql`create table intruder (x int)`,
      sql`drop table audit_seal`,
    ];
    for (const attempt of attempts) {
      const refused = claviger.storage.read((database) => database.execute(attempt));
      await expect(refused).rejects.toMatchObject({ reason: "STORAGE_UNAVAILABLE", cause: { code: "42501" } });
    }
  });
});
