import { type Cluster, Redis, Cluster as RedisCluster, type RedisOptions } from "ioredis";
import type { Random } from "../keys/random.ts";
import type { RedisAddress } from "./parse-redis-url.ts";

/** A connection, to one server or to a cluster. */
export type RedisConnection = Redis | Cluster;

export interface ConnectRedisOptions {
  readonly address: RedisAddress;
  /** Longest wait for one command, in milliseconds. */
  readonly commandTimeoutMs: number;
  /** Spreads attempts to reconnect, so that a fleet does not return in one moment. Default: no spread. */
  readonly random?: Random | undefined;
}

const LONGEST_PAUSE_MS = 500;
const PAUSE_STEP_MS = 50;

/**
 * Connects in the background, and again for ever. What cannot be sent at once, or is not answered within
 * `commandTimeoutMs`, fails; nothing is queued and nothing is sent twice, since a late repetition may undo what came
 * between. Whoever subscribes does so on each `ready`.
 */
export function connectRedis(options: ConnectRedisOptions): RedisConnection {
  const connection = open(options.address, optionsOf(options));
  // Its state says what is lost; an event that nobody hears would end the process.
  connection.on("error", () => undefined);
  return connection;
}

/** Milliseconds before the given attempt, counted from 1: rising to 500, of which chance takes up to half. */
export function reconnectPauseMs(attempt: number, random?: Random): number {
  const longest = Math.min(LONGEST_PAUSE_MS, attempt * PAUSE_STEP_MS);
  const share = random === undefined ? 0 : (random(1)[0] ?? 0) / 255;
  return Math.round(longest * (1 - share / 2));
}

function optionsOf({ commandTimeoutMs, random }: ConnectRedisOptions) {
  return {
    commandTimeout: commandTimeoutMs,
    connectTimeout: 1000,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    // ioredis 6.0.0 subscribes again without a catch: its time-out would be an unhandled rejection and end the process.
    autoResubscribe: false,
    maxRetriesPerRequest: 0,
    keepAlive: 5000,
    retryStrategy: (attempt: number) => reconnectPauseMs(attempt, random),
  } satisfies RedisOptions;
}

function open(address: RedisAddress, { retryStrategy, ...options }: ReturnType<typeof optionsOf>): RedisConnection {
  switch (address.kind) {
    case "standalone":
      return new Redis(address.url, { ...options, retryStrategy });
    case "cluster": {
      const { credentials, tls } = accessOf(address.urls[0]);
      const cluster = new RedisCluster([...address.urls], {
        // Nodes that the cluster names itself know nothing of the URLs.
        redisOptions: { ...options, ...credentials, ...(tls ? { tls: {} } : {}) },
        enableOfflineQueue: false,
        // Else a command whose connection closed is sent again.
        retryDelayOnFailover: 0,
        clusterRetryStrategy: retryStrategy,
        // Certificates are for names: ioredis would look them up first, and compare with the IP address.
        ...(tls
          ? { dnsLookup: (name: string, found: (error: null, address: string) => void) => found(null, name) }
          : {}),
      });
      cluster.on("+node", hearAsking);
      return cluster;
    }
    case "sentinel": {
      const { sentinels, name, username, password, tls } = address;
      const credentials = { ...(username ? { username } : {}), ...(password ? { password } : {}) };
      const security = tls ? { tls: {}, sentinelTLS: {}, enableTLSForSentinelMode: true } : {};
      return new Redis({ ...options, retryStrategy, sentinels: [...sentinels], name, ...credentials, ...security });
    }
  }
}

/**
 * ioredis 6.0.0 sends `ASKING` before a command that a reshard redirects, and drops its promise: a node that does not
 * answer in time would end the process. The command behind it fails, or is redirected, by itself.
 */
function hearAsking(node: Redis): void {
  const asking = node.asking.bind(node);
  node.asking = (...args: Parameters<typeof asking>) => {
    const answer = asking(...args);
    answer.catch(() => undefined);
    return answer;
  };
}

function accessOf(url: string) {
  const { protocol, username, password } = new URL(url);
  return {
    tls: protocol === "rediss:",
    credentials: {
      ...(username ? { username: decodeURIComponent(username) } : {}),
      ...(password ? { password: decodeURIComponent(password) } : {}),
    },
  };
}
