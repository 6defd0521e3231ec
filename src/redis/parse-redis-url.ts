/** Texts in PEM. */
export interface RedisCertificates {
  /** Trusted CAs, in place of those of Node. */
  readonly ca?: string;
  /** This client's certificate and its key, for a Redis that requires one. */
  readonly cert?: string;
  readonly key?: string;
}

interface Credentials {
  readonly username?: string | undefined;
  readonly password?: string | undefined;
}

/** The address of Redis, and the credentials. */
export type RedisAddress =
  | { readonly kind: "standalone"; readonly url: string; readonly certificates?: RedisCertificates | undefined }
  | ({ readonly kind: "unix"; readonly path: string; readonly database: number } & Credentials)
  /** All have the scheme of the first, whose credentials apply to every node. */
  | {
      readonly kind: "cluster";
      readonly urls: readonly [string, ...string[]];
      readonly certificates?: RedisCertificates | undefined;
    }
  /** The credentials of the servers, not of the sentinels. */
  | ({
      readonly kind: "sentinel";
      readonly sentinels: readonly { readonly host: string; readonly port: number }[];
      readonly name: string;
      readonly sentinelAccess?: Credentials | undefined;
      /** Applies to the servers and to the sentinels. */
      readonly tls: boolean;
      readonly certificates?: RedisCertificates | undefined;
    } & Credentials);

const SENTINEL_PORT = 26379;
const MAX_PORT = 65535;
const WRONG =
  "is not a Redis address. Give redis://host:6379, rediss:// for TLS, several of them with commas for a cluster, redis+sentinel://host:26379,host:26379/name (rediss+sentinel:// for TLS), or unix:///path/redis.sock?db=0; encode % as %25, and leave out options after a ?";

/**
 * Parses `REDIS_URL`.
 *
 * @throws Error that describes a valid address without the given one, which may hold a password.
 */
export function parseRedisUrl(text: string): RedisAddress {
  if (/^rediss?\+sentinel:/.test(text)) return parseSentinel(text);
  if (/^(redis\+)?unix:/.test(text)) return parseUnix(text);
  const [first, ...others] = text.split(",").map((part) => checkUrl(part.trim()));
  if (first === undefined) throw new Error(WRONG);
  if (others.length === 0) return { kind: "standalone", url: first };
  if (others.some((url) => new URL(url).protocol !== new URL(first).protocol)) throw new Error(WRONG);
  return { kind: "cluster", urls: [first, ...others] };
}

/** ioredis accepts any of its options from the query, before those of the program: a query could enable re-sending. */
function checkUrl(url: string): string {
  if (!/^rediss?:\/\/./.test(url) || !URL.canParse(url)) throw new Error(WRONG);
  const { hostname, pathname, search, hash, username, password } = new URL(url);
  const isPlain = hostname !== "" && hash === "" && /^(\/\d*)?$/.test(pathname) && /^(\?family=[46])?$/.test(search);
  if (!isPlain) throw new Error(WRONG);
  decode(username);
  decode(password);
  return url;
}

function parseSentinel(text: string): RedisAddress {
  const match = /^redis(s?)\+sentinel:\/\/(?:([^:@/]*):([^@/]*)@)?([^/@]+)\/([^/?]+)$/.exec(text);
  const [, secure, username, password, hosts, name] = match ?? [];
  if (hosts === undefined || name === undefined) throw new Error(WRONG);
  const sentinels = hosts.split(",").map(parseSentinelHost);
  return {
    ...{ kind: "sentinel", sentinels, name, tls: secure === "s" },
    ...{ username: decode(username), password: decode(password) },
  };
}

/** The form of redis-py and go-redis; `redis+unix:` is equivalent. */
function parseUnix(text: string): RedisAddress {
  const match = /^(?:redis\+)?unix:\/\/(?:([^:@/]*):([^@/]*)@)?(\/[^?#]+)(?:\?db=(\d+))?$/.exec(text);
  const path = decode(match?.[3]);
  if (match === null || path === undefined) throw new Error(WRONG);
  const [, username, password, , database = "0"] = match;
  return { kind: "unix", path, database: Number(database), username: decode(username), password: decode(password) };
}

function parseSentinelHost(text: string): { readonly host: string; readonly port: number } {
  const [, ipv6, name, digits] = /^(?:\[([^\]]+)\]|([^:[\]]+))(?::(\d{1,5}))?$/.exec(text.trim()) ?? [];
  const host = ipv6 ?? name;
  const port = digits === undefined ? SENTINEL_PORT : Number(digits);
  if (host === undefined || port < 1 || port > MAX_PORT) throw new Error(WRONG);
  return { host, port };
}

function decode(part: string | undefined): string | undefined {
  if (!part) return undefined;
  try {
    return decodeURIComponent(part);
  } catch {
    throw new Error(WRONG);
  }
}
