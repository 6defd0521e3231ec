import { sql } from "drizzle-orm";
import {
  boolean,
  check,
  foreignKey,
  index,
  integer,
  pgTable,
  primaryKey,
  smallint,
  text,
  uniqueIndex,
} from "drizzle-orm/pg-core";
import type { AuditAction } from "../keys/audit-event.ts";
import type { HeldField } from "../keys/held-fields.ts";
import type { Actor, Environment, JsonObject, RevocationReason } from "../keys/key.ts";
import type { Verdict } from "../keys/lifecycle.ts";
import type { Limits } from "../keys/limits.ts";
import { bigint, bytea, instant, jsonb } from "./columns.ts";

/** An owner that has, or ever had, a key. Creations for one owner queue at its row. */
export const keyOwner = pgTable(
  "key_owner",
  {
    id: text("id").primaryKey(),
    createTime: instant("create_time").notNull(),
  },
  (table) => [check("key_owner_id_length", sql`octet_length(${table.id}) between 1 and 255`)],
);

export const apiKey = pgTable(
  "api_key",
  {
    id: text("id").primaryKey(),
    owner: text("owner")
      .notNull()
      .references(() => keyOwner.id),
    displayName: text("display_name").notNull(),
    environment: text("environment").$type<Environment>().notNull(),
    scopes: text("scopes").array().$type<readonly string[]>().notNull(),
    labels: jsonb("labels").$type<Readonly<Record<string, string>>>().notNull(),
    metadata: jsonb("metadata").$type<JsonObject>(),
    allowedCidrs: text("allowed_cidrs").array().$type<readonly string[]>().notNull(),
    disabled: boolean("disabled").notNull(),
    limits: jsonb("limits").$type<Limits>(),
    currentVersion: integer("current_version").notNull(),
    ttlMs: bigint("ttl_ms", { mode: "number" }).notNull(),
    createTime: instant("create_time").notNull(),
    updateTime: instant("update_time").notNull(),
    createdBy: jsonb("created_by").$type<Actor>().notNull(),
    revokeTime: instant("revoke_time"),
    revokedBy: jsonb("revoked_by").$type<Actor>(),
    revokeReason: text("revoke_reason").$type<RevocationReason>(),
    revokeNote: text("revoke_note").notNull(),
    revision: bigint("revision", { mode: "number" }).notNull(),
    /** The last change that took validity away, and the last that is known to be obeyed everywhere. Only raised. */
    narrowedRevision: bigint("narrowed_rev", { mode: "number" }).notNull().default(0),
    settledRevision: bigint("settled_rev", { mode: "number" }).notNull().default(0),
    /** Which fields the owner cannot loosen. */
    held: text("held").array().$type<readonly HeldField[]>().notNull().default(sql`'{}'`),
  },
  (table) => [
    index("api_key_unsettled").on(table.id).where(sql`${table.narrowedRevision} > ${table.settledRevision}`),
    index("api_key_owner_id").on(table.owner, table.id),
    index("api_key_labels").using("gin", sql`${table.labels} jsonb_path_ops`),
    index("api_key_revoke_time").on(table.revokeTime).where(sql`${table.revokeTime} is not null`),
    check("api_key_id_form", sql`${table.id} ~ '^key_[0-7][0-9a-hjkmnp-tv-z]{25}$'`),
    check("api_key_environment_known", sql`${table.environment} in ('live', 'test')`),
    check("api_key_display_name_length", sql`char_length(${table.displayName}) between 1 and 63`),
    check("api_key_scopes_count", sql`cardinality(${table.scopes}) <= 64`),
    check("api_key_labels_object", sql`jsonb_typeof(${table.labels}) = 'object'`),
    check("api_key_cidrs_count", sql`cardinality(${table.allowedCidrs}) <= 50`),
    check("api_key_ttl_positive", sql`${table.ttlMs} > 0`),
    check("api_key_revoked_whole", sql`(${table.revokeTime} is null) = (${table.revokedBy} is null)`),
    check(
      "api_key_revoke_reason_known",
      sql`${table.revokeReason} in ('compromised', 'no_longer_used', 'owner_left', 'policy', 'other')`,
    ),
  ],
);

export const secretVersion = pgTable(
  "secret_version",
  {
    keyId: text("key_id").notNull(),
    version: integer("version").notNull(),
    digest: bytea("digest").notNull(),
    /** Id of the root secret that the secret was minted under. */
    root: text("root").notNull(),
    hint: text("hint").notNull(),
    createTime: instant("create_time").notNull(),
    expireTime: instant("expire_time").notNull(),
    retireTime: instant("retire_time"),
    /** When a leak of the secret was reported first. Only set. */
    leakReportTime: instant("leak_report_time"),
  },
  (table) => [
    primaryKey({ columns: [table.keyId, table.version] }),
    foreignKey({ columns: [table.keyId], foreignColumns: [apiKey.id] }).onDelete("cascade"),
    uniqueIndex("secret_version_digest").on(table.digest),
    index("secret_version_expire_time").on(table.expireTime),
    check("secret_version_counts_from_one", sql`${table.version} >= 1`),
    check("secret_version_digest_length", sql`octet_length(${table.digest}) = 32`),
    check("secret_version_term_positive", sql`${table.expireTime} > ${table.createTime}`),
  ],
);

/** One row: the number of the last committed change to an existing key. Updated last in every change. */
export const revision = pgTable(
  "revision",
  {
    id: smallint("id").primaryKey(),
    rev: bigint("rev", { mode: "number" }).notNull(),
    /** Changes up to here may be gone from `invalidation`. */
    trimmedRev: bigint("trimmed_rev", { mode: "number" }).notNull().default(0),
    /** Names this database between all that share a Redis. */
    clusterId: text("cluster_id").notNull().default(sql`gen_random_uuid()::text`),
    /** The marker of the revocation set that is valid; empty before the first. */
    setMarker: text("set_marker").notNull().default(""),
  },
  (table) => [check("revision_one_row", sql`${table.id} = 1`)],
);

/** The feed: which keys each revision changed. */
export const invalidation = pgTable(
  "invalidation",
  {
    rev: bigint("rev", { mode: "number" }).notNull(),
    keyId: text("key_id").notNull(),
    time: instant("time").notNull().default(sql`clock_timestamp()`),
  },
  (table) => [primaryKey({ columns: [table.rev, table.keyId] })],
);

/** The running server processes: what each holds a lease for, and which roots it knows. */
export const verifier = pgTable("verifier", {
  /** A random name per process start. */
  epoch: text("epoch").primaryKey(),
  roots: text("roots").array().$type<readonly string[]>().notNull(),
  address: text("address").notNull(),
  /** Lease term D in milliseconds. */
  termMs: integer("term_ms").notNull(),
  usesRevocationSet: boolean("uses_revocation_set").notNull(),
  /** The process, and every agent that leases from it, has applied all changes up to here. */
  ackedRevision: bigint("acked_rev", { mode: "number" }).notNull(),
  renewSeq: bigint("renew_seq", { mode: "number" }).notNull(),
  renewTime: instant("renew_time").notNull(),
  /** Set once the process was given up for lost. */
  collectTime: instant("collect_time"),
});

/** Changes and refusals. Rows are only ever added. */
export const auditEvent = pgTable(
  "audit_event",
  {
    id: text("id").primaryKey(),
    time: instant("time").notNull(),
    actor: jsonb("actor").$type<Actor>().notNull(),
    action: text("action").$type<AuditAction>().notNull(),
    outcome: text("outcome").$type<"done" | "denied">().notNull(),
    keyId: text("key_id").notNull(),
    owner: text("owner").notNull(),
    requestId: text("request_id").notNull(),
    details: jsonb("details").$type<JsonObject>().notNull(),
    root: text("root").notNull(),
    mac: bytea("mac").notNull(),
  },
  (table) => [
    index("audit_event_key_id").on(table.keyId),
    index("audit_event_owner").on(table.owner),
    check("audit_event_outcome_known", sql`${table.outcome} in ('done', 'denied')`),
  ],
);

/** Events that have no place in the chain yet. */
export const auditPending = pgTable("audit_pending", {
  eventId: text("event_id")
    .primaryKey()
    .references(() => auditEvent.id),
});

/** The chain: the event at each place, and the hash over everything up to it. Only ever added to. */
export const auditSeal = pgTable(
  "audit_seal",
  {
    sequence: bigint("sequence", { mode: "number" }).primaryKey(),
    eventId: text("event_id")
      .notNull()
      .unique()
      .references(() => auditEvent.id),
    hash: bytea("hash").notNull(),
  },
  (table) => [check("audit_seal_hash_length", sql`octet_length(${table.hash}) = 32`)],
);

/**
 * The audit keys of older root secrets, each wrapped by a newer one: events stay verifiable when the root secret that
 * signed them is dropped.
 */
export const auditRoot = pgTable(
  "audit_root",
  {
    /** Id of the older root secret. */
    id: text("id").notNull(),
    /** Id of the newer one. */
    wrappedBy: text("wrapped_by").notNull(),
    /** Nonce (12 bytes), AES-256-GCM of the audit key (32), tag (16). */
    wrapped: bytea("wrapped").notNull(),
  },
  (table) => [
    primaryKey({ columns: [table.id, table.wrappedBy] }),
    check("audit_root_wrapped_length", sql`octet_length(${table.wrapped}) = 60`),
  ],
);

/** Requests that made a key or a secret, so that a retry makes no second one. Kept for 24 hours. */
export const doneRequest = pgTable(
  "done_request",
  {
    /** The caller: its kind, and its subject or key. */
    caller: text("caller").notNull(),
    method: text("method").notNull(),
    requestId: text("request_id").notNull(),
    /** SHA-256 over the canonical request, without its id. */
    payload: bytea("payload").notNull(),
    keyId: text("key_id").notNull(),
    version: integer("version").notNull(),
    expireTime: instant("expire_time").notNull(),
  },
  (table) => [
    primaryKey({ columns: [table.caller, table.method, table.requestId] }),
    index("done_request_expire_time").on(table.expireTime),
  ],
);

/**
 * The sources of batches of usage, and the last batch that was taken of each. A row stays for longer than a batch may
 * wait to be sent again. The epoch of an agent begins with the id of its calling key and a slash.
 */
export const usageSource = pgTable(
  "usage_source",
  {
    epoch: text("epoch").primaryKey(),
    lastSeq: bigint("last_seq", { mode: "number" }).notNull(),
    /** When that batch was taken. */
    time: instant("time").notNull().default(sql`now()`),
  },
  (table) => [index("usage_source_caller").on(sql`split_part(${table.epoch}, '/', 1)`)],
);

/** The ledger: batches of counts that are not folded yet. */
export const usageBatch = pgTable(
  "usage_batch",
  {
    epoch: text("epoch").notNull(),
    seq: bigint("seq", { mode: "number" }).notNull(),
    /** How many rows `deltas` has. */
    size: integer("size").notNull(),
    /** Rows of `deltaColumns`. */
    deltas: jsonb("deltas").notNull(),
    time: instant("time").notNull().default(sql`clock_timestamp()`),
  },
  (table) => [primaryKey({ columns: [table.epoch, table.seq] }), index("usage_batch_time").on(table.time)],
);

/** Batches that could not be folded, for a person to look at. */
export const usageRejected = pgTable(
  "usage_rejected",
  {
    epoch: text("epoch").notNull(),
    seq: bigint("seq", { mode: "number" }).notNull(),
    deltas: jsonb("deltas").notNull(),
    /** SQLSTATE. */
    code: text("code").notNull(),
    time: instant("time").notNull().default(sql`clock_timestamp()`),
  },
  (table) => [primaryKey({ columns: [table.epoch, table.seq] })],
);

/**
 * Counts of one minute or hour. The key is empty where the secret belongs to no key; then the caller says which service
 * asked.
 */
const usageColumns = () => ({
  time: instant("time").notNull(),
  keyId: text("key_id").notNull(),
  callerId: text("caller_id").notNull(),
  version: integer("version").notNull(),
  verdict: text("verdict").$type<Verdict>().notNull(),
  method: text("method").notNull(),
  count: bigint("count", { mode: "number" }).notNull(),
  /** The charge, or the charge that limits would have caused. */
  cost: bigint("cost", { mode: "number" }).notNull(),
});

/** Partitioned by day. */
export const usageMinute = pgTable("usage_minute", usageColumns(), (table) => [
  primaryKey({ columns: [table.keyId, table.time, table.callerId, table.version, table.verdict, table.method] }),
]);

/** Partitioned by month. */
export const usageHour = pgTable("usage_hour", usageColumns(), (table) => [
  primaryKey({ columns: [table.keyId, table.time, table.callerId, table.version, table.verdict, table.method] }),
]);

/** When a secret was last valid. Beside the key's own row, which counting must not hold. */
export const keyLastUsed = pgTable(
  "key_last_used",
  {
    keyId: text("key_id").notNull(),
    version: integer("version").notNull(),
    time: instant("time").notNull(),
  },
  (table) => [primaryKey({ columns: [table.keyId, table.version] })],
);
