/** Where Redis is. */
export type RedisAddress =
  | { readonly kind: "standalone"; readonly url: string }
  | { readonly kind: "cluster"; readonly urls: readonly string[] }
  | {
      readonly kind: "sentinel";
      readonly sentinels: readonly { readonly host: string; readonly port: number }[];
      readonly name: string;
      readonly username: string | undefined;
      readonly password: string | undefined;
    };

const SENTINEL_PORT = 26379;
const WRONG =
  "is not a Redis address. Give redis://host:6379, rediss:// for TLS, several of them with commas for a cluster, or redis+sentinel://host:26379,host:26379/name";

/**
 * Reads `REDIS_URL`.
 *
 * @throws Error that says what is right, and repeats nothing: the address may hold a password
 */
export function parseRedisUrl(text: string): RedisAddress {
  if (text.startsWith("redis+sentinel://")) return parseSentinel(text);
  const urls = text.split(",").map((part) => part.trim());
  for (const url of urls) if (!/^rediss?:\/\/./.test(url) || !URL.canParse(url)) throw new Error(WRONG);
  const [first, second] = urls;
  if (first === undefined) throw new Error(WRONG);
  return second === undefined ? { kind: "standalone", url: first } : { kind: "cluster", urls };
}

function parseSentinel(text: string): RedisAddress {
  const match = /^redis\+sentinel:\/\/(?:([^:@/]*):([^@/]*)@)?([^/@]+)\/([^/?]+)$/.exec(text);
  const [, username, password, hosts, name] = match ?? [];
  if (hosts === undefined || name === undefined) throw new Error(WRONG);
  const sentinels = hosts.split(",").map((part) => {
    const [, host, port] = /^([^:]+|\[[^\]]+\])(?::(\d{1,5}))?$/.exec(part.trim()) ?? [];
    if (host === undefined) throw new Error(WRONG);
    return { host, port: port === undefined ? SENTINEL_PORT : Number(port) };
  });
  const decode = (part: string | undefined) => (part ? decodeURIComponent(part) : undefined);
  return { kind: "sentinel", sentinels, name, username: decode(username), password: decode(password) };
}
