import {
  and,
  count,
  desc,
  eq,
  getTableColumns,
  gt,
  inArray,
  isNull,
  notInArray,
  or,
  type Placeholder,
  type SQL,
  sql,
} from "drizzle-orm";
import type { FoundSecret } from "../keys/cached-secret.ts";
import type { KeyRecord, SecretRecord } from "../keys/key.ts";
import { lastRevision } from "./revisions.ts";
import { apiKey, keyLastUsed, secretVersion } from "./schema.ts";
import { place, places, prepared, type Statement } from "./statements.ts";
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

/** One secret, by the places `keyId` and `version`. */
const isSecret = and(
  eq(secretVersion.keyId, sql.placeholder("keyId")),
  eq(secretVersion.version, sql.placeholder("version")),
);

export function insertSecret(transaction: Database, { rootId, ...columns }: NewSecret): Statement<unknown> {
  const { leakReportTime: _, ...inserted } = getTableColumns(secretVersion);
  const insert = prepared(transaction, "insert_secret", () =>
    transaction.insert(secretVersion).values(places(inserted)),
  );
  return { send: () => insert.execute({ ...columns, root: rootId }) };
}

/** Ends a secret of a key that the transaction holds, at `time`. */
export function retireSecret(
  transaction: Database,
  { keyId, version }: Pick<SecretRecord, "keyId" | "version">,
  time: Date,
): Statement<void> {
  const retire = prepared(transaction, "retire_secret", () =>
    transaction
      .update(secretVersion)
      .set({ retireTime: place("time", secretVersion.retireTime) })
      .where(isSecret)
      .returning({ version: secretVersion.version }),
  );
  return {
    async send() {
      const rows = await retire.execute({ keyId, version, time });
      if (rows.length !== 1) throw new Error(`end of ${keyId} version ${version} met ${rows.length} rows`);
    },
  };
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
  const find = prepared(database, "find_secret", () => database.select(shown).from(secretVersion).where(isSecret));
  const [row] = await find.execute({ keyId, version });
  return row;
}

/** Secrets of each key, newest first: the `newest` ones, and older ones that are live. */
export function listSecrets(
  database: Database,
  keys: readonly Pick<KeyRecord, "id">[],
  newest: number,
): Statement<Map<string, SecretRecord[]>> {
  const list = prepared(database, "list_secrets", () =>
    database
      .select({ ...shown, lastUsedTime: keyLastUsed.time })
      .from(secretVersion)
      .innerJoin(apiKey, eq(apiKey.id, secretVersion.keyId))
      .leftJoin(
        keyLastUsed,
        and(eq(keyLastUsed.keyId, secretVersion.keyId), eq(keyLastUsed.version, secretVersion.version)),
      )
      .where(
        and(
          sql`${secretVersion.keyId} = any(${sql.placeholder("keyIds")}::text[])`,
          or(gt(secretVersion.version, sql`${apiKey.currentVersion} - ${sql.placeholder("newest")}::int`), isLive),
        ),
      )
      .orderBy(secretVersion.keyId, desc(secretVersion.version)),
  );
  return {
    async send() {
      const found = new Map<string, SecretRecord[]>(keys.map((key) => [key.id, []]));
      if (keys.length === 0) return found;
      const rows = await list.execute({ keyIds: [...found.keys()], newest });
      for (const row of rows) found.get(row.keyId)?.push(row);
      return found;
    },
  };
}

/** Digests in one statement up to which it is put together once; larger ones are few. */
const MOST_PREPARED = 16;

/** Looks up digests in one statement; those that are not known are missing from the map, keyed by the digest in hex. */
export async function findByDigests(database: Database, digests: readonly Buffer[]): Promise<Map<string, FoundSecret>> {
  const { length } = digests;
  if (length > MOST_PREPARED) return byDigest(await selectFound(database, digests));
  const find = prepared(database, `find_${length}_by_digest`, () =>
    selectFound(
      database,
      digests.map((_, at) => sql.placeholder(String(at))),
    ),
  );
  return byDigest(await find.execute(Object.fromEntries(digests.map((digest, at) => [String(at), digest]))));
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
