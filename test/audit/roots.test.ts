import { sql } from "drizzle-orm";
import { drizzle } from "drizzle-orm/postgres-js";
import type { Logger } from "pino";
import postgres from "postgres";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type AuditKey, type KeptRoots, keepAuditRoots } from "../../src/audit/kept-roots.ts";
import { createUnsealableReport, sealPending } from "../../src/audit/seal-pending.ts";
import { AuditSigner, CHAIN_START, sealHash } from "../../src/audit/signer.ts";
import { signedHead, verifyChain } from "../../src/audit/verify-chain.ts";
import { deriveRootKeys } from "../../src/keys/root-secret.ts";
import { insertEvents, listEvents, walkChain } from "../../src/postgres/audit.ts";
import { connectPostgres } from "../../src/postgres/connect/postgres-connection.ts";
import { Storage } from "../../src/postgres/storage.ts";
import { DEFAULT_POLICY } from "../../src/server/config/policy.ts";
import { systemRandom } from "../../src/system/node.ts";
import { createTestDatabase, type TestDatabase } from "../../testkit/database.ts";
import { describeWithPostgres } from "../../testkit/describe-with.ts";

const root = (number: number): AuditKey => deriveRootKeys(Buffer.alloc(32, number));
const [R1, R2, R3, R4] = [root(1), root(2), root(3), root(4)];
const EVENTS = 5;

let serial = 0;
const event = (subject: string) => ({
  id: `evt_${String(++serial).padStart(26, "0")}`,
  time: new Date(1_800_000_000_000 + serial),
  actor: { kind: "user" as const, subject, keyId: "", address: "10.0.0.1" },
  action: "key.revoked" as const,
  outcome: "done" as const,
  keyId: "key_0",
  owner: "u1",
  requestId: "",
  details: {},
});

describeWithPostgres("The audit log when root secrets come and go", () => {
  let database: TestDatabase;
  let storage: Storage;
  let superuser: postgres.Sql;
  let lines: { readonly level: string; readonly fields: Record<string, unknown> }[];
  const log = {
    error: (fields: Record<string, unknown>) => void lines.push({ level: "error", fields }),
  } as unknown as Logger;

  beforeEach(async () => {
    database = await createTestDatabase();
    lines = [];
    const options = { ...DEFAULT_POLICY.postgres, url: database.url, role: "claviger_app", poolSize: 2 };
    storage = new Storage({ connect: () => connectPostgres(options), timeoutMs: 10_000 });
    superuser = postgres(database.url, { max: 1, onnotice: () => undefined });
  });
  afterEach(async () => {
    await superuser.end();
    await storage.close();
    await database.drop();
  });

  const start = (roots: readonly [AuditKey, ...AuditKey[]]) => keepAuditRoots(storage, { roots, random: systemRandom });
  const signerOf = (roots: readonly [AuditKey, ...AuditKey[]], kept: KeptRoots) => new AuditSigner(roots, kept.vouched);
  const write = (signer: AuditSigner, count: number) =>
    storage.transaction((transaction) =>
      insertEvents(
        transaction,
        Array.from({ length: count }, () => event("alice")).map((each) => ({
          event: each,
          signature: signer.sign(each),
        })),
      ).send(),
    );
  const seal = (signer: AuditSigner) => sealPending({ storage, signer, log });
  const names = async () =>
    (await storage.read((db) => listEvents(db, {}, { below: undefined, limit: 1000 }))).map(
      (e) => e.event.actor.subject,
    );

  /** What a role that may only insert can do. */
  async function plant(rootId: string, pending = true): Promise<string> {
    const { id, time, actor, ...rest } = event("innocent-bob");
    await superuser`insert into audit_event (id, time, actor, action, outcome, key_id, owner, request_id, details, root, mac)
      values (${id}, ${time}, ${superuser.json({ ...actor })}, ${rest.action}, 'done', 'key_0', 'u1', '', '{}', ${rootId}, '\\x00')`;
    if (pending) await superuser`insert into audit_pending (event_id) values (${id})`;
    return id;
  }

  describe("an event that a stranger has inserted, to be sealed", () => {
    it.each([
      ["an unknown root", "0123456789abcdef", "audit.unsealable"],
      ["a root that is configured", R1.id, "audit.forged"],
    ])("is not sealed where it names %s, logged once, and makes verification fail", async (_what, rootId, logged) => {
      const signer = signerOf([R1], await start([R1]));
      const report = createUnsealableReport({ storage, signer, log });
      await write(signer, EVENTS);
      const id = await plant(rootId);
      for (let round = 0; round < 3; round++) {
        await seal(signer);
        await report();
      }
      expect(await names()).toEqual(Array.from({ length: EVENTS }, () => "alice"));
      expect(lines).toEqual([{ level: "error", fields: { event: logged, count: 1, ids: [id] } }]);
      const { problem, unchecked, events } = await verifyChain(storage, signer, undefined);
      expect(problem?.place ?? unchecked.first?.place).toBe(id);
      if (problem === undefined) expect([unchecked.count, events]).toEqual([1, EVENTS + 1]);
    });

    it("does not keep other events from being sealed, however many there are and however old", async () => {
      const signer = signerOf([R1], await start([R1]));
      await superuser`insert into audit_event (id, time, actor, action, outcome, key_id, owner, request_id, details, root, mac)
        select 'evt_' || n, '2001-01-01', '{"kind":"user","subject":"eve","keyId":"","address":""}', 'key.revoked', 'done', '', '', '', '{}',
          case n % 2 when 0 then ${R1.id} else 'unknown' end, '\\x00' from generate_series(1, 5000) n`;
      await superuser`insert into audit_pending (event_id) select id from audit_event`;
      await write(signer, EVENTS);
      await seal(signer);
      expect(await names()).toEqual(Array.from({ length: EVENTS }, () => "alice"));
    });

    it("control: with what only a wrong signature keeps out, an unknown root is sealed", async () => {
      const signer = signerOf([R1], await start([R1]));
      await plant("0123456789abcdef");
      const trusting = Object.assign(Object.create(signer) as AuditSigner, { check: () => "good" });
      Object.defineProperty(trusting, "rootIds", { value: [R1.id, "0123456789abcdef"] });
      await seal(trusting);
      expect(await names()).toEqual(["innocent-bob"]);
    });
  });

  it("an event that was rewritten in place under an unknown root, with all hashes after it, is named by its place", async () => {
    const signer = signerOf([R1], await start([R1]));
    await write(signer, EVENTS);
    await seal(signer);
    const kept = await signedHead(storage, signer);
    const rows = await storage.read((db) => walkChain(db, 0, EVENTS));
    const eventId = rows[2]?.eventId ?? "";
    await superuser`update audit_event set owner = 'eve', root = '0123456789abcdef' where id = ${eventId}`;
    let previous = CHAIN_START;
    for (const row of await storage.read((db) => walkChain(db, 0, EVENTS))) {
      if (row.signed === undefined) throw new Error("lost an event");
      previous = sealHash(previous, row.sequence, row.signed.event);
      await superuser`update audit_seal set hash = ${previous} where sequence = ${row.sequence}`;
    }
    const place = `sequence 3 (${eventId})`;
    const alone = await verifyChain(storage, signer, undefined);
    expect(alone).toMatchObject({ problem: undefined, events: EVENTS, unchecked: { count: 1, first: { place } } });
    expect(alone.unchecked.first?.what).toContain("neither configured nor vouched for");
    expect((await verifyChain(storage, signer, kept)).problem).toMatchObject({ place });
  });

  describe("after a rotation", () => {
    async function signUnder(roots: readonly [AuditKey, ...AuditKey[]]): Promise<AuditSigner> {
      const signer = signerOf(roots, await start(roots));
      await write(signer, EVENTS);
      await seal(signer);
      return signer;
    }
    const verify = async (roots: readonly [AuditKey, ...AuditKey[]]) => {
      const kept = await start(roots);
      const { problem, unchecked, events } = await verifyChain(storage, signerOf(roots, kept), undefined);
      return { problem, unchecked: unchecked.count, events, unreadable: kept.unreadable };
    };

    it("every event can be checked though its root secret is dropped, along any chain of rotations", async () => {
      await signUnder([R1]);
      await signUnder([R1, R2]);
      await signUnder([R2, R1]);
      const first = await signedHead(storage, await signUnder([R2]));
      expect(await verify([R2])).toEqual({ problem: undefined, unchecked: 0, events: 4 * EVENTS, unreadable: 0 });
      await signUnder([R3, R2]);
      await signUnder([R3]);
      await signUnder([R4, R3]);
      expect(await verify([R4])).toEqual({ problem: undefined, unchecked: 0, events: 7 * EVENTS, unreadable: 0 });
      const late = await verifyChain(storage, signerOf([R4], await start([R4])), first);
      expect(late.problem).toBeUndefined();
    });

    it("events that waited for their place when their root secret was dropped get it", async () => {
      await start([R2, R1]);
      await write(new AuditSigner([R1]), EVENTS);
      await seal(signerOf([R2], await start([R2])));
      expect(await names()).toHaveLength(EVENTS);
    });

    it("control: without a start that knew both, events of the dropped one are counted as not checked", async () => {
      await signUnder([R1]);
      await signUnder([R2]);
      expect(await verify([R2])).toEqual({ problem: undefined, unchecked: EVENTS, events: 2 * EVENTS, unreadable: 0 });
      expect(await verify([R2, R1])).toEqual({ problem: undefined, unchecked: 0, events: 2 * EVENTS, unreadable: 0 });
    });

    it("a row that does not unwrap is ignored and counted, and made anew by a start that knows both", async () => {
      await signUnder([R1]);
      await signUnder([R2, R1]);
      const [row] = await superuser`select wrapped from audit_root`;
      for (const damage of [sql`sha256('a') || sha224('b')`, sql`set_byte(wrapped, 30, get_byte(wrapped, 30) # 1)`]) {
        await drizzle(superuser).execute(sql`update audit_root set wrapped = ${damage}`);
        expect(await verify([R2])).toEqual({
          problem: undefined,
          unchecked: EVENTS,
          events: 2 * EVENTS,
          unreadable: 1,
        });
        expect((await verify([R2, R1])).unchecked).toBe(0);
        expect(await verify([R2])).toEqual({ problem: undefined, unchecked: 0, events: 2 * EVENTS, unreadable: 0 });
      }
      await superuser`insert into audit_root values ('feedfeedfeedfeed', ${R2.id}, ${row?.wrapped})`;
      await superuser`insert into audit_root values ('feedfeedfeedfeed', 'nobody', ${row?.wrapped})`;
      expect(await verify([R2])).toMatchObject({ unchecked: 0, unreadable: 1 });
    });

    it("a start that changes nothing writes nothing", async () => {
      await start([R3, R2, R1]);
      const rows = () => superuser`select id, wrapped_by, wrapped, xmin::text from audit_root order by id, wrapped_by`;
      const before = await rows();
      expect(before).toHaveLength(3);
      await start([R3, R2, R1]);
      expect(await rows()).toEqual(before);
    });
  });

  it("no root secret and no audit key is in the database", async () => {
    await start([R3, R2, R1]);
    const dump = JSON.stringify(await superuser`select encode(wrapped, 'hex') as hex, id, wrapped_by from audit_root`);
    for (const { auditKey } of [R1, R2, R3]) expect(dump).not.toContain(auditKey.toString("hex"));
  });
});
