import { type Cluster, Redis, Cluster as RedisCluster, type RedisOptions } from "ioredis";
import type { RedisAddress } from "./parse-redis-url.ts";

/** A connection, to one server or to a cluster. */
export type RedisConnection = Redis | Cluster;

const LONGEST_PAUSE_MS = 500;

/**
 * Connects in the background, and again for ever. What cannot be sent at once, or is not answered within
 * `commandTimeoutMs`, fails; nothing is queued and nothing is sent twice, since a late repetition may undo what came
 * between.
 */
export function connectRedis(address: RedisAddress, commandTimeoutMs: number): RedisConnection {
  const connection = open(address, optionsOf(commandTimeoutMs));
  // Its state says what is lost; an event that nobody hears would end the process.
  connection.on("error", () => undefined);
  return connection;
}

function optionsOf(commandTimeoutMs: number) {
  return {
    commandTimeout: commandTimeoutMs,
    connectTimeout: 1000,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    autoResubscribe: true,
    maxRetriesPerRequest: 0,
    keepAlive: 5000,
    retryStrategy: (attempt: number) => Math.min(LONGEST_PAUSE_MS, attempt * 50),
  } satisfies RedisOptions;
}

function open(address: RedisAddress, { retryStrategy, ...options }: ReturnType<typeof optionsOf>): RedisConnection {
  switch (address.kind) {
    case "standalone":
      return new Redis(address.url, { ...options, retryStrategy });
    case "cluster":
      return new RedisCluster([...address.urls], {
        redisOptions: options,
        enableOfflineQueue: false,
        clusterRetryStrategy: retryStrategy,
      });
    case "sentinel": {
      const { sentinels, name, username, password } = address;
      const credentials = { ...(username ? { username } : {}), ...(password ? { password } : {}) };
      return new Redis({ ...options, retryStrategy, sentinels: [...sentinels], name, ...credentials });
    }
  }
}
