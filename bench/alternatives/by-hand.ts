import { createHash, randomBytes } from "node:crypto";
import { Redis } from "ioredis";
import pg from "pg";
import type { Contestant, Stores } from "./contestant.ts";

/** A verifier written in an afternoon: a digest, one look-up, two conditions. Nothing is counted. */
export interface Row {
  readonly disabled: boolean;
  readonly expires: number;
}

/** The best of 10 and 32, at 32 verifications at once on two cores. */
export const BY_HAND_POOL = 10;
const LIFE_MS = 30 * 86_400_000;
const digestOf = (secret: string) => createHash("sha256").update(secret).digest("base64url");
const uncounted = { count: async () => undefined, settled: async () => undefined };

/** A key's id is its digest here. */
function byHand(
  write: (digest: string, row: Row) => Promise<unknown>,
  find: (digest: string) => Promise<Row | undefined>,
  remove: (digest: string) => Promise<unknown>,
): Contestant {
  return {
    ...uncounted,
    async create() {
      const secret = `key_${randomBytes(32).toString("base64url")}`;
      const id = digestOf(secret);
      await write(id, { disabled: false, expires: Date.now() + LIFE_MS });
      return { id, secret };
    },
    async verify(secret) {
      const row = await find(digestOf(secret));
      return row !== undefined && !row.disabled && row.expires > Date.now();
    },
    remove: async (id) => void (await remove(id)),
    disable: async (id) => void (await write(id, { disabled: true, expires: Date.now() + LIFE_MS })),
  };
}

/** One GET of JSON. */
export async function byHandGet({ redisUrl }: Stores): Promise<Contestant> {
  const redis = new Redis(redisUrl);
  return byHand(
    (digest, row) => redis.set(`by-hand-get:${digest}`, JSON.stringify(row)),
    async (digest) => {
      const text = await redis.get(`by-hand-get:${digest}`);
      return text === null ? undefined : JSON.parse(text);
    },
    (digest) => redis.del(`by-hand-get:${digest}`),
  );
}

/** One HGETALL. */
export async function byHandHash({ redisUrl }: Stores): Promise<Contestant> {
  const redis = new Redis(redisUrl);
  return byHand(
    (digest, { disabled, expires }) => redis.hset(`by-hand-hash:${digest}`, { disabled: Number(disabled), expires }),
    async (digest) => {
      const { disabled, expires } = await redis.hgetall(`by-hand-hash:${digest}`);
      return expires === undefined ? undefined : { disabled: disabled === "1", expires: Number(expires) };
    },
    (digest) => redis.del(`by-hand-hash:${digest}`),
  );
}

/** One SELECT by primary key, as a prepared statement. */
export async function byHandSelect({ databaseUrl }: Stores): Promise<Contestant> {
  const pool = new pg.Pool({ connectionString: databaseUrl, max: BY_HAND_POOL, idleTimeoutMillis: 0 });
  await pool.query("create table if not exists api_key (digest text primary key, disabled boolean, expires bigint)");
  const upsert = "insert into api_key values ($1, $2, $3) on conflict (digest) do update set disabled = $2";
  return byHand(
    (digest, { disabled, expires }) => pool.query(upsert, [digest, disabled, expires]),
    async (digest) => {
      const text = "select disabled, expires from api_key where digest = $1";
      const { rows } = await pool.query({ name: "find", text, values: [digest] });
      return rows[0] && { disabled: rows[0].disabled, expires: Number(rows[0].expires) };
    },
    (digest) => pool.query("delete from api_key where digest = $1", [digest]),
  );
}
