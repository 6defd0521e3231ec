import {
  and,
  count,
  desc,
  eq,
  gt,
  inArray,
  isNull,
  notInArray,
  or,
  type Placeholder,
  type SQL,
  sql,
} from "drizzle-orm";
import type { KeyRecord, SecretRecord } from "../keys/key.ts";
import type { FoundSecret } from "../keys/known-secret.ts";
import { lastRevision } from "./revisions.ts";
import { apiKey, keyLastUsed, secretVersion } from "./schema.ts";
import type { Database } from "./storage.ts";
import { databaseTime, inEpochMs } from "./time.ts";

/** A new secret as it is stored. */
export interface NewSecret extends SecretRecord {
  readonly digest: Buffer;
  readonly rootId: string;
}

const shown = {
  keyId: secretVersion.keyId,
  version: secretVersion.version,
  hint: secretVersion.hint,
  createTime: secretVersion.createTime,
  expireTime: secretVersion.expireTime,
  retireTime: secretVersion.retireTime,
};

// Also read past a transaction pooler, and so in forms that no setting of the session changes.
const found = {
  digest: secretVersion.digest,
  key: {
    id: apiKey.id,
    owner: apiKey.owner,
    displayName: apiKey.displayName,
    environment: apiKey.environment,
    scopes: apiKey.scopes,
    labels: apiKey.labels,
    metadata: apiKey.metadata,
    allowedCidrs: apiKey.allowedCidrs,
    disabled: apiKey.disabled,
    limits: apiKey.limits,
    revokeTime: inEpochMs(apiKey.revokeTime) as SQL<Date | null>,
  },
  secret: {
    version: secretVersion.version,
    expireTime: inEpochMs(secretVersion.expireTime),
    retireTime: inEpochMs(secretVersion.retireTime) as SQL<Date | null>,
  },
};

const isLive = and(
  gt(secretVersion.expireTime, databaseTime),
  or(isNull(secretVersion.retireTime), gt(secretVersion.retireTime, databaseTime)),
);

export async function insertSecret(transaction: Database, secret: NewSecret): Promise<void> {
  const { rootId, ...columns } = secret;
  await transaction.insert(secretVersion).values({ ...columns, root: rootId });
}

/** Ends a secret of a key that the transaction holds, at `time`. */
export async function retireSecret(transaction: Database, secret: SecretRecord, time: Date): Promise<void> {
  const rows = await transaction
    .update(secretVersion)
    .set({ retireTime: time })
    .where(and(eq(secretVersion.keyId, secret.keyId), eq(secretVersion.version, secret.version)))
    .returning({ version: secretVersion.version });
  if (rows.length !== 1) throw new Error(`end of ${secret.keyId} version ${secret.version} met ${rows.length} rows`);
}

/** Remembers that a leak of the secret was reported at `time`; returns whether that is the first report. */
export async function noteLeakReport(transaction: Database, secret: SecretRecord, time: Date): Promise<boolean> {
  const rows = await transaction
    .update(secretVersion)
    .set({ leakReportTime: time })
    .where(
      and(
        eq(secretVersion.keyId, secret.keyId),
        eq(secretVersion.version, secret.version),
        isNull(secretVersion.leakReportTime),
      ),
    )
    .returning({ version: secretVersion.version });
  return rows.length === 1;
}

export async function findSecret(
  database: Database,
  keyId: string,
  version: number,
): Promise<SecretRecord | undefined> {
  const [row] = await database
    .select(shown)
    .from(secretVersion)
    .where(and(eq(secretVersion.keyId, keyId), eq(secretVersion.version, version)));
  return row;
}

/** Secrets of each key, newest first: the `newest` ones, and older ones that are live. */
export async function listSecrets(
  database: Database,
  keys: readonly KeyRecord[],
  newest: number,
): Promise<Map<string, SecretRecord[]>> {
  const found = new Map<string, SecretRecord[]>(keys.map((key) => [key.id, []]));
  if (keys.length === 0) return found;
  const rows = await database
    .select({ ...shown, lastUsedTime: keyLastUsed.time })
    .from(secretVersion)
    .innerJoin(apiKey, eq(apiKey.id, secretVersion.keyId))
    .leftJoin(
      keyLastUsed,
      and(eq(keyLastUsed.keyId, secretVersion.keyId), eq(keyLastUsed.version, secretVersion.version)),
    )
    .where(
      and(
        inArray(secretVersion.keyId, [...found.keys()]),
        or(gt(secretVersion.version, sql`${apiKey.currentVersion} - ${newest}::int`), isLive),
      ),
    )
    .orderBy(secretVersion.keyId, desc(secretVersion.version));
  for (const row of rows) found.get(row.keyId)?.push(row);
  return found;
}

/** Looks up digests in one statement; those that are not known are missing from the map, keyed by the digest in hex. */
export async function findByDigests(database: Database, digests: readonly Buffer[]): Promise<Map<string, FoundSecret>> {
  return byDigest(await selectFound(database, digests));
}

/** Digests in one statement up to which it is put together once; larger ones are few. */
const MOST_PREPARED = 16;

export interface FindByDigestsOptions {
  /**
   * Whether Postgres keeps the statement under a name, and soon its plan, which is half of the cost of a look-up. Off
   * behind a transaction pooler, which may send the next statement on another connection.
   */
  readonly keepsPlans: boolean;
}

/** Like `findByDigests`, with one prepared statement per number of digests. */
export function createFindByDigests({ keepsPlans }: FindByDigestsOptions): typeof findByDigests {
  const prepared = new WeakMap<Database, Map<number, ReturnType<typeof prepareFind>>>();
  return async (database, digests) => {
    const { length } = digests;
    if (length > MOST_PREPARED) return findByDigests(database, digests);
    const known = prepared.get(database) ?? new Map<number, ReturnType<typeof prepareFind>>();
    prepared.set(database, known);
    const find = known.get(length) ?? prepareFind(database, length, keepsPlans ? `find_${length}_by_digest` : "");
    known.set(length, find);
    return byDigest(await find.execute(Object.fromEntries(digests.map((digest, at) => [String(at), digest]))));
  };
}

function prepareFind(database: Database, count: number, name: string) {
  const places = Array.from({ length: count }, (_, at) => sql.placeholder(String(at)));
  return selectFound(database, places).prepare(name);
}

function selectFound(database: Database, digests: readonly (Buffer | Placeholder)[]) {
  return database
    .select({ ...found, now: inEpochMs(databaseTime), revision: lastRevision })
    .from(secretVersion)
    .innerJoin(apiKey, eq(apiKey.id, secretVersion.keyId))
    .where(inArray(secretVersion.digest, [...digests]));
}

function byDigest(rows: readonly (FoundSecret & { readonly digest: Buffer })[]): Map<string, FoundSecret> {
  return new Map(rows.map(({ digest, ...found }) => [digest.toString("hex"), found]));
}

/** How many secrets are live that were minted under a root not in `rootIds`. */
export async function countLiveUnderOtherRoots(database: Database, rootIds: readonly string[]): Promise<number> {
  const [row] = await database
    .select({ secrets: count() })
    .from(secretVersion)
    .innerJoin(apiKey, eq(apiKey.id, secretVersion.keyId))
    .where(and(notInArray(secretVersion.root, [...rootIds]), isNull(apiKey.revokeTime), isLive));
  return row?.secrets ?? 0;
}

/** How many secrets of the key, which is not revoked, are live. */
export function countLiveSecrets(database: Database, keyId: string): Promise<number> {
  return database.$count(secretVersion, and(eq(secretVersion.keyId, keyId), isLive));
}
