import type { ConnectionOptions } from "node:tls";
import { type Cluster, Redis, Cluster as RedisCluster, type RedisOptions } from "ioredis";
import type { Random } from "../system/clocks.ts";
import { leavesConnection } from "./errors.ts";
import type { RedisAddress, RedisCertificates } from "./parse-redis-url.ts";

/** A connection to one server or to a cluster. */
export type RedisConnection = Redis | Cluster;

export interface ConnectRedisOptions {
  readonly address: RedisAddress;
  /** Maximum milliseconds for one command. */
  readonly commandTimeoutMs: number;
  /** Spreads attempts to reconnect, so that a fleet does not return at once. Default: no spread. */
  readonly random?: Random | undefined;
}

const LONGEST_PAUSE_MS = 500;
const PAUSE_STEP_MS = 50;
const CONNECT_MS = 1000;
/**
 * A server that leaves a command unanswered for this long hangs. The time is longer than a fork of Redis and shorter
 * than an election.
 */
const SILENCE_MS = 2000;
/** Time for a server to close its end. A hanging server does not. */
const CLOSE_MS = 100;

/**
 * Connects in the background, and reconnects without end, to the current master. A command that cannot be sent at once,
 * or is not answered within `commandTimeoutMs`, fails. Commands are neither queued nor repeated, since a late
 * repetition may undo a later command. The connection leaves a server after two seconds of silence, and after the
 * errors that `errors.ts` names.
 */
export function connectRedis(options: ConnectRedisOptions): RedisConnection {
  const { address } = options;
  return address.kind === "cluster"
    ? openCluster(address, optionsOf(options))
    : openServer(address, optionsOf(options));
}

/**
 * A connection for subscriptions, which the caller makes on each `ready`. In a cluster it leads to one node, and to the
 * next one of the URLs after each loss. (ioredis 6.0.0 applies none of these time-outs to the subscriber of its
 * `Cluster`, and resubscribes without a catch, which may end the process.)
 */
export function connectSubscriber(options: ConnectRedisOptions): Redis {
  const { address } = options;
  if (address.kind !== "cluster") return openServer(address, optionsOf(options));
  const { urls, certificates } = address;
  const first = Math.floor(((options.random?.(1)[0] ?? 0) / 256) * urls.length);
  const { retryStrategy, ...others } = optionsOf(options);
  const subscriber: Redis = new Redis(urls[first] ?? urls[0], {
    ...others,
    ...accessOf({ urls, certificates }),
    retryStrategy(attempt) {
      const { hostname, port } = new URL(urls[(first + attempt) % urls.length] ?? urls[0]);
      Object.assign(subscriber.options, { host: hostname.replace(/^\[|\]$/g, ""), port: Number(port || DEFAULT_PORT) });
      return retryStrategy(attempt);
    },
  });
  subscriber.on("error", () => undefined);
  return subscriber;
}

/**
 * Closes an open connection so that the client opens another one. ioredis 6.0.0 never connects again after a
 * `disconnect` while it connects.
 */
export function reconnect(connection: RedisConnection): void {
  if (connection.status === "ready" || connection.status === "connect") connection.disconnect(true);
}

/**
 * Back-off in milliseconds before the given attempt, counted from 1: rising to 500, less a random part of up to half.
 */
export function reconnectPauseMs(attempt: number, random?: Random): number {
  const longest = Math.min(LONGEST_PAUSE_MS, attempt * PAUSE_STEP_MS);
  const share = random === undefined ? 0 : (random(1)[0] ?? 0) / 255;
  return Math.round(longest * (1 - share / 2));
}

function optionsOf({ commandTimeoutMs, random }: ConnectRedisOptions) {
  return {
    commandTimeout: commandTimeoutMs,
    connectTimeout: CONNECT_MS,
    disconnectTimeout: CLOSE_MS,
    socketTimeout: SILENCE_MS,
    reconnectOnError: leavesConnection,
    enableOfflineQueue: false,
    // ioredis would send INFO, and print a line if the user lacks the permission. `watch-redis.ts` checks more.
    enableReadyCheck: false,
    autoResendUnfulfilledCommands: false,
    // ioredis 6.0.0 resubscribes without a catch: the time-out would be an unhandled rejection and end the process.
    autoResubscribe: false,
    maxRetriesPerRequest: 0,
    keepAlive: 5000,
    retryStrategy: (attempt: number) => reconnectPauseMs(attempt, random),
  } satisfies RedisOptions;
}

type Options = ReturnType<typeof optionsOf>;
type AddressOf<Kind extends RedisAddress["kind"]> = Extract<RedisAddress, { readonly kind: Kind }>;

function openServer(address: Exclude<RedisAddress, { readonly kind: "cluster" }>, options: Options): Redis {
  const connection = open(address, options);
  // The status shows the loss. ioredis prints an error event without a listener.
  connection.on("error", () => undefined);
  if (address.kind === "sentinel") followSentinels(connection, address, options);
  return connection;
}

function open(address: Exclude<RedisAddress, { readonly kind: "cluster" }>, options: Options): Redis {
  switch (address.kind) {
    case "standalone": {
      const { url, certificates } = address;
      return new Redis(url, { ...options, ...(url.startsWith("rediss:") ? { tls: tlsOf(certificates) } : {}) });
    }
    case "unix": {
      const { path, database: db, ...credentials } = address;
      return new Redis({ ...options, path, db, ...credentialsOf(credentials) });
    }
    case "sentinel": {
      const { sentinels, name, tls, certificates } = address;
      const { username: sentinelUsername, password: sentinelPassword } = credentialsOf(address.sentinelAccess ?? {});
      return new Redis({
        ...{ ...options, ...credentialsOf(address), sentinels: [...sentinels], name },
        // Otherwise ioredis 6.0.0 waits for a hanging sentinel without end.
        sentinelCommandTimeout: CONNECT_MS,
        ...(sentinelUsername === undefined ? {} : { sentinelUsername }),
        ...(sentinelPassword === undefined ? {} : { sentinelPassword }),
        ...(tls ? { tls: tlsOf(certificates), sentinelTLS: tlsOf(certificates), enableTLSForSentinelMode: true } : {}),
      });
    }
  }
}

function openCluster({ urls, certificates }: AddressOf<"cluster">, { retryStrategy, ...options }: Options): Cluster {
  const access = accessOf({ urls, certificates });
  const cluster = new RedisCluster([...urls], {
    // Nodes that the cluster itself names lack the settings of the URLs.
    redisOptions: { ...options, ...access },
    enableOfflineQueue: false,
    // Otherwise ioredis sends a command again after its connection closed.
    retryDelayOnFailover: 0,
    clusterRetryStrategy: retryStrategy,
    // Certificates are for names. ioredis would look the names up first, and compare the certificate with the IP
    // address.
    ...(access.tls
      ? { dnsLookup: (name: string, found: (error: null, address: string) => void) => found(null, name) }
      : {}),
  });
  cluster.on("error", () => undefined);
  cluster.on("+node", hearAsking);
  return cluster;
}

/**
 * Leaves the old master at `+switch-master`. Otherwise the client would use it until a sentinel demotes it, 11 s later,
 * and charge it until then. Uses its own connections to the sentinels, because `failoverDetector` of ioredis 6.0.0
 * prints a line for each unreachable sentinel, resubscribes without a catch, and confuses failovers of other masters
 * with its own.
 */
function followSentinels(connection: Redis, address: AddressOf<"sentinel">, options: Options): void {
  const { sentinels, name, tls, certificates } = address;
  const followers = sentinels.map(({ host, port }) => {
    const security = tls ? { tls: tlsOf(certificates) } : {};
    const sentinel = new Redis({ ...options, host, port, ...credentialsOf(address.sentinelAccess ?? {}), ...security });
    sentinel.on("error", (error: Error) => {
      const { code } = error as NodeJS.ErrnoException;
      connection.emit(
        "sentinelError",
        Object.assign(new Error(`sentinel ${host}:${port}: ${error.message}`), { code }),
      );
    });
    sentinel.on("ready", () => sentinel.subscribe("+switch-master").catch(() => reconnect(sentinel)));
    sentinel.on("message", (_channel: string, text: string) => {
      if (text.startsWith(`${name} `)) reconnect(connection);
    });
    return sentinel;
  });
  // Not at "end": ioredis 6.0.0 does not emit it after a `disconnect` during the wait before a reconnect.
  const disconnect = connection.disconnect.bind(connection);
  connection.disconnect = (isToReconnect) => {
    if (isToReconnect !== true) for (const sentinel of followers) sentinel.disconnect();
    disconnect(isToReconnect);
  };
}

/**
 * ioredis 6.0.0 sends `ASKING` before a command that a reshard redirects, and drops its promise: a node that does not
 * answer in time would end the process. The command behind it fails or is redirected by itself.
 */
function hearAsking(node: Redis): void {
  const asking = node.asking.bind(node);
  node.asking = (...args: Parameters<typeof asking>) => {
    const answer = asking(...args);
    answer.catch(() => undefined);
    return answer;
  };
}

const DEFAULT_PORT = 6379;

/** Options for all nodes, from the first URL. */
function accessOf({ urls, certificates }: Pick<AddressOf<"cluster">, "urls" | "certificates">) {
  const { protocol, username, password } = new URL(urls[0]);
  const credentials = { username: decodeURIComponent(username), password: decodeURIComponent(password) };
  const tls = protocol === "rediss:" ? tlsOf(certificates) : undefined;
  return { ...(tls ? { tls } : {}), ...credentialsOf(credentials) };
}

/**
 * A `TLSSocket` may emit a second `error`, when an alert arrives after the certificate was refused. ioredis 6.0.0
 * listens once, so the second would end the process. A socket with a signal keeps a listener until it is gone, also
 * those that ioredis opens to sentinels.
 */
function tlsOf(certificates: RedisCertificates | undefined): ConnectionOptions & { readonly signal: AbortSignal } {
  return { ...certificates, signal: new AbortController().signal };
}

function credentialsOf({
  username,
  password,
}: {
  readonly username?: string | undefined;
  readonly password?: string | undefined;
}) {
  return { ...(username ? { username } : {}), ...(password ? { password } : {}) };
}
