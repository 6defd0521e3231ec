import { randomBytes } from "node:crypto";
import { sql } from "drizzle-orm";
import { drizzle } from "drizzle-orm/node-postgres";
import pg from "pg";
import { afterAll, beforeAll, expect, it } from "vitest";
import { apiKey, keyOwner, revision, secretVersion, verifier } from "../../src/postgres/schema.ts";
import type { Database } from "../../src/postgres/storage.ts";
import { createTestDatabase, type TestDatabase } from "../../testkit/database.ts";
import { describeWithPostgres } from "../../testkit/describe-with.ts";

type NewKey = typeof apiKey.$inferInsert;
type NewSecret = typeof secretVersion.$inferInsert;

const now = new Date("2026-01-01T00:00:00Z");
const later = new Date("2026-02-01T00:00:00Z");
const actor = { kind: "system", subject: "", keyId: "", address: "" } as const;
const OWNER = "constraints";
const keyId = (number: number) => `key_0${number.toString().padStart(25, "0")}`;

const keyOf = (id: string): NewKey => ({
  id,
  owner: OWNER,
  displayName: "k",
  environment: "live",
  scopes: [],
  labels: {},
  metadata: null,
  allowedCidrs: [],
  disabled: false,
  currentVersion: 1,
  ttlMs: 1,
  createTime: now,
  updateTime: now,
  createdBy: actor,
  revokeTime: null,
  revokedBy: null,
  revokeReason: null,
  revokeNote: "",
  revision: 0,
});
const secretOf = (id: string): NewSecret => ({
  keyId: id,
  version: 1,
  digest: randomBytes(32),
  root: "r",
  hint: "",
  createTime: now,
  expireTime: later,
  retireTime: null,
});

describeWithPostgres("The database itself refuses", () => {
  let database: TestDatabase | undefined;
  let pool: pg.Pool | undefined;
  let used = 0;

  beforeAll(async () => {
    database = await createTestDatabase();
    pool = new pg.Pool({ connectionString: database.url, max: 2 });
    await db().insert(keyOwner).values({ id: OWNER, createTime: now });
  });
  afterAll(async () => {
    await pool?.end();
    await database?.drop();
  });

  function db(): Database {
    if (pool === undefined) throw new Error("no database");
    return drizzle(pool);
  }

  /** Inserts a key with its secret, each with changes. */
  function insert(key: Partial<NewKey> = {}, secret: Partial<NewSecret> = {}): Promise<string> {
    const id = keyId(++used);
    return db().transaction(async (transaction) => {
      await transaction.insert(apiKey).values({ ...keyOf(id), ...key });
      await transaction.insert(secretVersion).values({ ...secretOf(key.id ?? id), ...secret });
      return id;
    });
  }

  /** The name of the constraint that a change breaks. */
  async function broken(change: Promise<unknown>): Promise<unknown> {
    const error: unknown = await change.then(
      () => {
        throw new Error("the database took it");
      },
      (reason: unknown) => (reason instanceof Error ? (reason.cause ?? reason) : reason),
    );
    return error instanceof Error && "constraint" in error ? error.constraint : error;
  }

  it("nothing of a key and a secret that are right", async () => {
    await insert();
    await insert({ revokeTime: now, revokedBy: actor, revokeReason: "other" }, { retireTime: later });
  });

  it("two secrets of one digest", async () => {
    const digest = randomBytes(32);
    await insert({}, { digest });
    expect(await broken(insert({}, { digest }))).toBe("secret_version_digest");
  });

  it("two keys of one id, and two secrets of one version", async () => {
    const id = await insert();
    expect(await broken(insert({ id }))).toBe("api_key_pkey");
    expect(await broken(db().insert(secretVersion).values(secretOf(id)))).toBe("secret_version_key_id_version_pk");
  });

  it("a current version that does not exist, at the latest when the transaction commits", async () => {
    expect(await broken(insert({ currentVersion: 2 }))).toBe("api_key_current_version_fk");
    expect(
      await broken(
        db()
          .insert(apiKey)
          .values(keyOf(keyId(++used))),
      ),
    ).toBe("api_key_current_version_fk");
    const id = await insert();
    expect(await broken(db().update(apiKey).set({ currentVersion: 2 }).where(sql`id = ${id}`))).toBe(
      "api_key_current_version_fk",
    );
    expect(await broken(db().delete(secretVersion).where(sql`key_id = ${id}`))).toBe("api_key_current_version_fk");
  });

  it("an owner that is not known, and the loss of one who has keys", async () => {
    expect(await broken(insert({ owner: "nobody" }))).toBe("api_key_owner_key_owner_id_fk");
    await insert();
    expect(await broken(db().delete(keyOwner))).toBe("api_key_owner_key_owner_id_fk");
  });

  it("a secret without a key; a key takes its secrets along", async () => {
    expect(
      await broken(
        db()
          .insert(secretVersion)
          .values(secretOf(keyId(999_999))),
      ),
    ).toBe("secret_version_key_id_api_key_id_fk");
    const id = await insert();
    await db().delete(apiKey).where(sql`id = ${id}`);
    expect(await db().$count(secretVersion, sql`key_id = ${id}`)).toBe(0);
  });

  it.each<[string, Partial<NewKey>]>([
    ["api_key_id_form", { id: "key_1" }],
    ["api_key_id_form", { id: keyId(1).replace("key_0", "key_8") }],
    ["api_key_id_form", { id: `${keyId(1).slice(0, -1)}u` }],
    ["api_key_environment_known", { environment: "prod" as "live" }],
    ["api_key_display_name_length", { displayName: "" }],
    ["api_key_display_name_length", { displayName: "x".repeat(64) }],
    ["api_key_scopes_count", { scopes: Array.from({ length: 65 }, () => "s") }],
    ["api_key_labels_object", { labels: [] as unknown as Record<string, string> }],
    ["api_key_cidrs_count", { allowedCidrs: Array.from({ length: 51 }, () => "10.0.0.0/8") }],
    ["api_key_ttl_positive", { ttlMs: 0 }],
    ["api_key_revoked_whole", { revokeTime: now }],
    ["api_key_revoked_whole", { revokedBy: actor }],
    ["api_key_revoke_reason_known", { revokeTime: now, revokedBy: actor, revokeReason: "fun" as "other" }],
  ])("a key that breaks %s: %j", async (constraint, change) => {
    expect(await broken(insert(change))).toBe(constraint);
  });

  it.each<[string, Partial<NewSecret>]>([
    ["secret_version_digest_length", { digest: randomBytes(31) }],
    ["secret_version_digest_length", { digest: randomBytes(33) }],
    ["secret_version_term_positive", { expireTime: now }],
    ["secret_version_counts_from_one", { version: 0 }],
  ])("a secret that breaks %s", async (constraint, change) => {
    expect(await broken(insert({}, change))).toBe(constraint);
  });

  it("an owner without a name, or with one of 256 bytes", async () => {
    const add = (id: string) => db().insert(keyOwner).values({ id, createTime: now });
    expect(await broken(add(""))).toBe("key_owner_id_length");
    expect(await broken(add("é".repeat(128)))).toBe("key_owner_id_length");
    expect(await broken(add(OWNER))).toBe("key_owner_pkey");
  });

  it("a second revision, and a second verifier of one epoch", async () => {
    expect(await broken(db().insert(revision).values({ id: 2, rev: 0 }))).toBe("revision_one_row");
    expect(await broken(db().insert(revision).values({ id: 1, rev: 0 }))).toBe("revision_pkey");
    const lease = { termMs: 1, usesRevocationSet: false, ackedRevision: 0, renewSeq: 1, renewTime: now };
    const row = { epoch: "e", roots: [], address: "", ...lease };
    await db().insert(verifier).values(row);
    expect(await broken(db().insert(verifier).values(row))).toBe("verifier_pkey");
  });
});
