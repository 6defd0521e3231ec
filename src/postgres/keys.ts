import {
  and,
  desc,
  eq,
  getTableColumns,
  gt,
  gte,
  inArray,
  isNotNull,
  isNull,
  lt,
  lte,
  or,
  type SQL,
  type SQLWrapper,
  sql,
} from "drizzle-orm";
import type { Change } from "../keys/change.ts";
import type { KeyRecord } from "../keys/key.ts";
import type { KeyState } from "../keys/lifecycle.ts";
import { databaseIdentity, nextRevision } from "./revisions.ts";
import { apiKey, invalidation, keyLastUsed, secretVersion } from "./schema.ts";
import { place, places, prepared, type Statement } from "./statements.ts";
import type { Database } from "./storage.ts";
import { databaseTime } from "./time.ts";

/** Joins a key with the secret that it calls current. */
export const isCurrentSecret = and(
  eq(secretVersion.keyId, apiKey.id),
  eq(secretVersion.version, apiKey.currentVersion),
);

/** The fields of a key that a management call may change. */
const CHANGEABLE = [
  "displayName",
  "scopes",
  "labels",
  "metadata",
  "allowedCidrs",
  "disabled",
  "limits",
  "held",
  "currentVersion",
  "revokeTime",
  "revokedBy",
  "revokeReason",
  "revokeNote",
] as const satisfies readonly (keyof KeyRecord)[];

export type KeyChange = Partial<Pick<KeyRecord, (typeof CHANGEABLE)[number]>>;

export function insertKey(transaction: Database, key: KeyRecord): Statement<unknown> {
  const insert = prepared(transaction, "insert_key", () =>
    transaction.insert(apiKey).values(places(getTableColumns(apiKey))),
  );
  return { send: () => insert.execute({ ...key }) };
}

/**
 * Reads a key and locks it: `update` to change it, `share` so that no other transaction changes it before the commit.
 */
export async function lockKey(
  transaction: Database,
  id: string,
  strength: "update" | "share",
): Promise<KeyRecord | undefined> {
  const lock = prepared(transaction, `lock_key_for_${strength}`, () =>
    transaction
      .select()
      .from(apiKey)
      .where(eq(apiKey.id, sql.placeholder("id")))
      .for(strength),
  );
  const [row] = await lock.execute({ id });
  return row;
}

export async function findKey(database: Database, id: string): Promise<KeyRecord | undefined> {
  return (await findKeyNow(database, id))?.key;
}

/** A key, and when it was read by the database's clock. */
export async function findKeyNow(
  database: Database,
  id: string,
): Promise<{ readonly key: KeyRecord; readonly now: Date } | undefined> {
  const find = prepared(database, "find_key", () =>
    database
      .select({ key: apiKey, now: databaseTime })
      .from(apiKey)
      .where(eq(apiKey.id, sql.placeholder("id"))),
  );
  const [row] = await find.execute({ id });
  return row;
}

/** A change of keys, as it is written. */
export interface KeysChange {
  readonly ids: readonly string[];
  readonly change: KeyChange;
  readonly updateTime: Date;
  /** Whether it takes validity away now or soon, so that it must be obeyed before it is answered. */
  readonly narrows: boolean;
}

/** A key as a change has left it. */
export interface ChangedKey {
  readonly key: KeyRecord;
  /** The marker of the revocation set at this change. A later marker comes with a floor that covers the change. */
  readonly setMarker: string;
}

/**
 * Writes the same change to keys that the transaction holds, with the revision that it takes and its place in the feed;
 * all in one statement, since every other change waits from there until the commit.
 */
export function changeKeys(
  transaction: Database,
  { ids, change, updateTime, narrows }: KeysChange,
): Statement<ChangedKey[]> {
  const fields = CHANGEABLE.filter((field) => change[field] !== undefined);
  const name = `change_${narrows ? "and_narrow" : "keys"}_${fields.map((field) => CHANGEABLE.indexOf(field)).join("_")}`;
  const update = prepared(transaction, name, () => prepareChange(transaction, { fields, narrows }));
  return {
    async send() {
      const rows = await update.execute({ ...change, updateTime, ids: [...ids] });
      if (rows.length !== ids.length) throw new Error(`a change of ${ids.length} keys met ${rows.length}`);
      return rows;
    },
  };
}

function prepareChange(
  transaction: Database,
  { fields, narrows }: { readonly fields: readonly (keyof KeyChange)[]; readonly narrows: boolean },
) {
  const ids = sql`${sql.placeholder("ids")}::text[]`;
  const next = nextRevision(transaction);
  const noted = transaction
    .$with("noted", {})
    .as(sql`insert into ${invalidation} (rev, key_id) select next.rev, unnest(${ids}) from next`);
  return transaction
    .with(next, noted)
    .update(apiKey)
    .set({
      ...Object.fromEntries(fields.map((field) => [field, place(field, apiKey[field])])),
      updateTime: place("updateTime", apiKey.updateTime),
      revision: sql`${next.rev}`,
      ...(narrows ? { narrowedRevision: sql`${next.rev}` } : {}),
    })
    .from(next)
    .where(sql`${apiKey.id} = any(${ids})`)
    .returning({ key: getTableColumns(apiKey), setMarker: sql<string>`${next.setMarker}` });
}

/**
 * Remembers that every change that took validity away from the keys, up to `revision` of that database, is obeyed
 * everywhere. It does not count in another database: a restored backup uses revisions again.
 */
export async function settleKeys(
  database: Database,
  { keyIds, revision, identity }: Change & { readonly keyIds: readonly string[] },
): Promise<void> {
  const settled = place("revision", apiKey.settledRevision);
  const update = prepared(database, "settle_keys", () =>
    database
      .update(apiKey)
      .set({ settledRevision: settled })
      .where(
        and(
          sql`${apiKey.id} = any(${sql.placeholder("keyIds")}::text[])`,
          lt(apiKey.settledRevision, settled),
          sql`${databaseIdentity} = ${sql.placeholder("identity")}`,
        ),
      ),
  );
  await update.execute({ keyIds: [...keyIds], revision, identity });
}

/** Ids and revisions of the revoked keys of the filter that are not known to be obeyed everywhere. */
export function listUnsettled(database: Database, filter: KeyFilter) {
  return database
    .select({ keyId: apiKey.id, revision: apiKey.narrowedRevision })
    .from(apiKey)
    .where(and(matches(filter), isNotNull(apiKey.revokeTime), gt(apiKey.narrowedRevision, apiKey.settledRevision)));
}

/** Which keys to list; all that are set must hold. */
export interface KeyFilter {
  readonly owner?: string;
  readonly state?: KeyState;
  readonly labels?: Readonly<Record<string, string>>;
  readonly expiresBefore?: Date;
  /** Made before this, and not valid since. */
  readonly unusedSince?: Date;
}

/** Keys by id, newest first, that come after `after` in that order. */
export async function listKeys(
  database: Database,
  filter: KeyFilter,
  page: { readonly after: string | undefined; readonly limit: number },
): Promise<KeyRecord[]> {
  return database
    .select(getTableColumns(apiKey))
    .from(apiKey)
    .innerJoin(secretVersion, isCurrentSecret)
    .where(and(matches(filter), page.after === undefined ? undefined : lt(apiKey.id, page.after)))
    .orderBy(desc(apiKey.id))
    .limit(page.limit);
}

/** Ids, owners and scopes, oldest first, of up to `limit` keys of the filter that are not revoked, held for a change. */
export function lockUnrevoked(
  transaction: Database,
  filter: KeyFilter,
  limit: number,
): Promise<Pick<KeyRecord, "id" | "owner" | "scopes">[]> {
  return transaction
    .select({ id: apiKey.id, owner: apiKey.owner, scopes: apiKey.scopes })
    .from(apiKey)
    .where(and(matches(filter), isNull(apiKey.revokeTime)))
    .orderBy(apiKey.id)
    .limit(limit)
    .for("update");
}

/** Up to `limit` keys of the filter, oldest first, that are not revoked and hold a scope of `claviger:`. */
export function listUnrevokedWithOwnScope(
  database: Database,
  filter: KeyFilter,
  limit: number,
): Promise<Pick<KeyRecord, "id" | "owner" | "scopes">[]> {
  const own = sql`exists (select from unnest(${apiKey.scopes}) scope where scope = 'claviger' or scope like 'claviger:%')`;
  return database
    .select({ id: apiKey.id, owner: apiKey.owner, scopes: apiKey.scopes })
    .from(apiKey)
    .where(and(matches(filter), isNull(apiKey.revokeTime), own))
    .orderBy(apiKey.id)
    .limit(limit);
}

/** How many keys of the filter are not revoked. */
export function countUnrevoked(database: Database, filter: KeyFilter): Promise<number> {
  return database.$count(apiKey, and(matches(filter), isNull(apiKey.revokeTime)));
}

/** Removes up to `limit` keys that have been revoked or expired since before then; returns how many. */
export async function deleteDeadSince(database: Database, before: Date, limit: number): Promise<number> {
  // One select per index: an `or` across both tables reads them from end to end.
  const revoked = database.select({ id: apiKey.id }).from(apiKey).where(lt(apiKey.revokeTime, before));
  const expired = database
    .select({ id: apiKey.id })
    .from(apiKey)
    .innerJoin(secretVersion, isCurrentSecret)
    .where(lt(secretVersion.expireTime, before));
  return deleteKeys(database, revoked.union(expired).limit(limit));
}

/**
 * Removes keys of canaries, which are those of the owners with the label `canary`: ones that were revoked before
 * `settledBefore` and that no verifier accepts any more, and ones that were revoked or expired before `deadBefore`.
 */
export function deleteCanaryKeys(
  database: Database,
  { owners, settledBefore, deadBefore, limit }: DeadCanaryKeys,
): Promise<number> {
  const isCanary = sql`${apiKey.labels} @> '{"canary":"true"}'::jsonb`;
  const isSettled = gte(apiKey.settledRevision, apiKey.narrowedRevision);
  const isDead = or(
    and(lt(apiKey.revokeTime, settledBefore), isSettled),
    lt(apiKey.revokeTime, deadBefore),
    lt(secretVersion.expireTime, deadBefore),
  );
  const dead = database
    .select({ id: apiKey.id })
    .from(apiKey)
    .innerJoin(secretVersion, isCurrentSecret)
    .where(and(inArray(apiKey.owner, [...owners]), isCanary, isDead));
  return deleteKeys(database, dead.limit(limit));
}

export interface DeadCanaryKeys {
  readonly owners: readonly string[];
  readonly settledBefore: Date;
  readonly deadBefore: Date;
  readonly limit: number;
}

async function deleteKeys(database: Database, dead: SQLWrapper): Promise<number> {
  const rows = await database.delete(apiKey).where(sql`${apiKey.id} in ${dead}`).returning({ id: apiKey.id });
  const ids = rows.map(({ id }) => id);
  if (ids.length > 0) await database.delete(keyLastUsed).where(inArray(keyLastUsed.keyId, ids));
  return rows.length;
}

function matches(filter: KeyFilter): SQL | undefined {
  return and(
    filter.owner === undefined ? undefined : eq(apiKey.owner, filter.owner),
    filter.state === undefined ? undefined : inState(filter.state),
    filter.labels === undefined ? undefined : sql`${apiKey.labels} @> ${JSON.stringify(filter.labels)}::jsonb`,
    filter.expiresBefore === undefined ? undefined : lt(secretVersion.expireTime, filter.expiresBefore),
    filter.unusedSince === undefined ? undefined : isUnusedSince(filter.unusedSince),
  );
}

function isUnusedSince(time: Date): SQL | undefined {
  const used = sql`select from ${keyLastUsed} where ${keyLastUsed.keyId} = ${apiKey.id}
    and ${keyLastUsed.time} >= ${time.toISOString()}::timestamptz`;
  return and(lt(apiKey.createTime, time), sql`not exists (${used})`);
}

/** `keyState` of the domain, as a condition. */
function inState(state: KeyState): SQL | undefined {
  switch (state) {
    case "revoked":
      return isNotNull(apiKey.revokeTime);
    case "disabled":
      return and(isNull(apiKey.revokeTime), eq(apiKey.disabled, true));
    case "expired":
      return and(isNull(apiKey.revokeTime), eq(apiKey.disabled, false), lte(secretVersion.expireTime, databaseTime));
    case "active":
      return and(isNull(apiKey.revokeTime), eq(apiKey.disabled, false), gt(secretVersion.expireTime, databaseTime));
  }
}
