import pg from "pg";
import { type Auth, type Redis, sessionOf } from "./better-auth-session.ts";
import type { Contestant, Count, Stores } from "./contestant.ts";
import { importAlternative } from "./install.ts";

/** The places where better-auth can keep keys, beside the settings below. */
export const STORAGES = {
  postgres: { storage: "database" },
  redis: { storage: "secondary-storage" },
  "redis-deferred": { storage: "secondary-storage", deferUpdates: true },
  "redis-over-postgres": { storage: "secondary-storage", fallbackToDatabase: true },
} as const;
export type Storage = keyof typeof STORAGES;

/** The best of 10 and 32, at 32 verifications at once on two cores: more commits share a write to the disk. */
export const BETTER_AUTH_POOL = 32;
/** Settings of the plugin and of better-auth: only needed features are on. Keys stay hashed. */
export const PLUGIN_SETTINGS = { rateLimit: { enabled: false }, enableMetadata: false, disableKeyHashing: false };
export const SETTINGS = {
  ...{
    secret: "a secret of this bench alone, 32 bytes",
    baseURL: "http://127.0.0.1",
    emailAndPassword: { enabled: true },
  },
  ...{ logger: { disabled: true }, rateLimit: { enabled: false }, telemetry: { enabled: false } },
};

export async function betterAuth(name: Storage, { databaseUrl, redisUrl }: Stores): Promise<Contestant> {
  const database = new pg.Pool({ connectionString: databaseUrl, max: BETTER_AUTH_POOL, idleTimeoutMillis: 0 });
  const modules = await Promise.all(
    ["better-auth", "better-auth/db/migration", "@better-auth/api-key", "@better-auth/redis-storage", "ioredis"].map(
      importAlternative,
    ),
  );
  const { betterAuth, getMigrations, apiKey, redisStorage, Redis } = Object.assign({}, ...modules) as Modules;
  const client = new Redis(redisUrl);
  const keyPrefix = `better-auth-${name}:`;
  const underWay = new Set<Promise<unknown>>();
  const later = (work: Promise<unknown>) => {
    underWay.add(work);
    work.catch(() => undefined).finally(() => underWay.delete(work));
  };
  const options = {
    ...{ ...SETTINGS, database, plugins: [apiKey({ ...PLUGIN_SETTINGS, ...STORAGES[name] })] },
    ...(name === "postgres" ? {} : { secondaryStorage: redisStorage({ client, keyPrefix }) }),
    advanced: { backgroundTasks: { handler: later } },
  };
  await (await getMigrations(options)).runMigrations();
  const auth = betterAuth(options);
  const { api } = auth;
  const { userId, headers } = await sessionOf(auth);
  return {
    async create({ user, remaining } = {}) {
      const body = { userId: user === undefined ? userId : `user-${user}`, ...(remaining && { remaining }) };
      const { id, key } = await api.createApiKey({ body });
      return { id, secret: key };
    },
    verify: async (key) => (await api.verifyApiKey({ body: { key } })).valid,
    remove: async (keyId) => void (await api.deleteApiKey({ body: { keyId }, headers })),
    disable: async (keyId) => void (await api.updateApiKey({ body: { keyId, userId, enabled: false } })),
    count: (id) => (name.endsWith("postgres") ? countInPostgres(database, id) : countInRedis(client, keyPrefix, id)),
    async settled() {
      while (underWay.size > 0) await Promise.allSettled(underWay);
    },
  };
}

interface Modules {
  betterAuth(options: object): Auth;
  getMigrations(options: object): Promise<{ runMigrations(): Promise<void> }>;
  apiKey(options: object): object;
  redisStorage(options: { readonly client: Redis; readonly keyPrefix: string }): object;
  readonly Redis: new (url: string) => Redis;
}

async function countInPostgres(database: pg.Pool, id: string): Promise<Count> {
  const { rows } = await database.query('select remaining, "lastRequest" from apikey where id = $1', [id]);
  return { remaining: rows[0]?.remaining ?? 0, lastRequest: Number(rows[0]?.lastRequest ?? 0) };
}

async function countInRedis(client: Redis, keyPrefix: string, id: string): Promise<Count> {
  const { remaining, lastRequest } = JSON.parse((await client.get(`${keyPrefix}api-key:by-id:${id}`)) ?? "{}");
  return { remaining: remaining ?? 0, lastRequest: Date.parse(lastRequest) };
}
