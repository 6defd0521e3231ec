import { availableParallelism } from "node:os";
import { MIN_ROOT_BYTES } from "../../keys/root-secret.ts";
import type { Secret } from "../../keys/secret.ts";
import { DEFAULT_ADDRESS, parseListenAddress } from "../../system/addresses.ts";
import { ConfigError } from "../startup-error.ts";
import { parseIssuers } from "./parse-issuers.ts";
import { parsePolicy } from "./parse-policy.ts";
import { LONGEST_TIMER_SETTING_MS } from "./policy.ts";

/** A setting of the server: an environment variable, and the flag of `claviger serve` that overrides it. */
export interface Setting<Value = unknown> {
  readonly variable: string;
  /** Absent for a secret: those are never arguments. */
  readonly flag?: string;
  /** The meaning of the setting, in a few words. */
  readonly text: string;
  /** The value without the setting, for readers; `none` if there is none. */
  readonly default: string;
  /** Whether the value must not be shown. A secret can also be read from the file named by `<variable>_FILE`. */
  readonly secret: boolean;
  /** Whether the value is JSON, which may also be in a file: `@<path>`. */
  readonly isJson?: boolean;
  /** Reads the trimmed value; undefined: the setting is not set. Throws a ConfigError for a wrong one. */
  readonly parse: (text: string | undefined) => Value;
}

/** Secrets are parsed when their file has been read, and stay wrapped. */
type SecretSetting = Setting<undefined> & { readonly secret: true };

const LOG_LEVELS = ["trace", "debug", "info", "warn", "error", "fatal", "silent"] as const;
const [SHORTEST_LEASE_MS, LONGEST_LEASE_MS] = [200, 60_000];
const SHORTEST_CANARY_MS = 1000;
const MOST_WORKERS = 256;
const MOST_HOPS = 16;

/** Every setting by the name that the code has for it, in the order of the documentation. */
export const SETTING = {
  listen: plain({
    variable: "CLAVIGER_LISTEN",
    flag: "--listen <host:port>",
    text: "address of the one port",
    default: DEFAULT_ADDRESS,
    parse: (text = DEFAULT_ADDRESS) => parseListen("CLAVIGER_LISTEN", text),
  }),
  authzListen: plain({
    variable: "CLAVIGER_AUTHZ_LISTEN",
    flag: "--authz-listen <host:port>",
    text: "address of a second port, which serves /authz and /introspect only; gateways that reach it need no credential of their own for /authz",
    default: "none",
    parse: (text) => (text === undefined ? undefined : parseListen("CLAVIGER_AUTHZ_LISTEN", text)),
  }),
  tlsCert: plain({
    variable: "CLAVIGER_TLS_CERT",
    flag: "--tls-cert <file>",
    text: "PEM of the server's certificate with its chain; with it the port speaks TLS",
    default: "cleartext",
    parse: asGiven,
  }),
  tlsKey: plain({
    variable: "CLAVIGER_TLS_KEY",
    flag: "--tls-key <file>",
    text: "PEM of the private key of the server's certificate",
    default: "none",
    parse: asGiven,
  }),
  dataDir: plain({
    variable: "CLAVIGER_DATA_DIR",
    flag: "--data-dir <folder>",
    text: "folder of the embedded database",
    default: ".claviger",
    parse: (text = ".claviger") => text,
  }),
  databaseUrl: secret({
    variable: "DATABASE_URL",
    flag: "--database-url <url>",
    text: "Postgres, such as postgres://user@host/claviger, several hosts with commas; a password belongs into the variable",
    default: "embedded",
  }),
  redisUrl: secret({
    variable: "REDIS_URL",
    flag: "--redis-url <url>",
    text: "Redis, which makes revocations fast and keeps limits: redis://host:6379, several with commas for a cluster, or redis+sentinel://host:26379/name; rediss:// and rediss+sentinel:// for TLS; unix:///path/redis.sock?db=0",
    default: "in-process",
  }),
  redisTlsCa: plain({
    variable: "REDIS_TLS_CA",
    flag: "--redis-tls-ca <file>",
    text: "PEM of the CA that signed the certificate of Redis",
    default: "the CAs that Node trusts",
    parse: asGiven,
  }),
  redisTlsCert: plain({
    variable: "REDIS_TLS_CERT",
    flag: "--redis-tls-cert <file>",
    text: "PEM of a client certificate, for a Redis that requires one",
    default: "none",
    parse: asGiven,
  }),
  redisTlsKey: plain({
    variable: "REDIS_TLS_KEY",
    flag: "--redis-tls-key <file>",
    text: "PEM of the private key of the client certificate",
    default: "none",
    parse: asGiven,
  }),
  redisSentinelUsername: plain({
    variable: "REDIS_SENTINEL_USERNAME",
    flag: "--redis-sentinel-username <name>",
    text: "user of the sentinels themselves",
    default: "none",
    parse: asGiven,
  }),
  redisSentinelPassword: secret({
    variable: "REDIS_SENTINEL_PASSWORD",
    text: "password of the sentinels themselves; the password of the servers is in REDIS_URL",
    default: "none",
  }),
  rootSecrets: secret({
    variable: "CLAVIGER_ROOT_SECRETS",
    text: "root secrets, comma-separated, newest first, each at least 32 bytes in base64",
    default: "see CLAVIGER_ROOT_SECRETS_FILE",
  }),
  rootSecretsFile: plain({
    variable: "CLAVIGER_ROOT_SECRETS_FILE",
    flag: "--root-secrets-file <file>",
    text: "file with the root secrets",
    default: "made by the embedded database; required with Postgres",
    parse: asGiven,
  }),
  verifyAccess: choice({
    variable: "CLAVIGER_VERIFY_ACCESS",
    flag: "--verify-access <key|open>",
    text: "key: Verify needs claviger:verify; open: Verify needs no credential",
    values: ["key", "open"],
  }),
  authzPolicies: plain({
    variable: "CLAVIGER_AUTHZ_POLICIES",
    flag: "--authz-policies <file>",
    text: "JSON of the policies that gateways name, read again when it changes",
    default: "none",
    parse: asGiven,
  }),
  services: plain({
    variable: "CLAVIGER_SERVICES",
    flag: "--services <file>",
    text: "descriptor set (buf build -o services.binpb) whose (claviger.v1.access) gateways enforce; several with commas",
    default: "none",
    parse: asGiven,
  }),
  trustedHops: plain({
    variable: "CLAVIGER_TRUSTED_HOPS",
    flag: "--trusted-hops <number>",
    text: "proxies in front of a gateway's question that append to x-forwarded-for; the client's address is that many from its right",
    default: "the last hop for Check, unknown for /authz",
    parse: parseTrustedHops,
  }),
  reflection: plain({
    variable: "CLAVIGER_REFLECTION",
    flag: "--reflection <on|off>",
    text: "gRPC server reflection",
    default: "on with the embedded database, off with Postgres",
    parse: (text) => (text === undefined ? undefined : oneOf("CLAVIGER_REFLECTION", ["on", "off"], text)),
  }),
  logLevel: choice({
    variable: "CLAVIGER_LOG_LEVEL",
    flag: "--log-level <level>",
    text: "trace, debug, info, warn, error, fatal or silent; logs go to stderr",
    values: LOG_LEVELS,
    standard: "info",
  }),
  logFormat: choice({
    variable: "CLAVIGER_LOG_FORMAT",
    flag: "--log-format <auto|json|text>",
    text: "json, text, or auto: text on a terminal and JSON elsewhere",
    values: ["auto", "json", "text"],
  }),
  policy: plain({
    variable: "CLAVIGER_POLICY",
    flag: "--policy <json>",
    text: 'JSON over the numbers of the policy, such as {"manage": {"keysPerOwner": 20}}, or @file',
    default: "the default policy",
    isJson: true,
    parse: parsePolicy,
  }),
  leaseMs: plain({
    variable: "CLAVIGER_LEASE_MS",
    flag: "--lease-ms <milliseconds>",
    text: "lease term D: how long a revocation waits for a verifier that died",
    default: "3000",
    parse: (text) => milliseconds("CLAVIGER_LEASE_MS", [SHORTEST_LEASE_MS, LONGEST_LEASE_MS, 3000], text),
  }),
  leaseDatabaseUrl: secret({
    variable: "CLAVIGER_LEASE_DATABASE_URL",
    flag: "--lease-database-url <url>",
    text: "direct connection for leases and changes, where DATABASE_URL leads to a connection pooler",
    default: "DATABASE_URL",
  }),
  onDatabaseLoss: choice({
    variable: "CLAVIGER_ON_DATABASE_LOSS",
    flag: "--on-database-loss <deny|revocation-set>",
    text: "without Postgres, verification ends with the lease (deny), or goes on from memory by a set in Redis (revocation-set)",
    values: ["deny", "revocation-set"],
  }),
  canaryMs: plain({
    variable: "CLAVIGER_CANARY_MS",
    flag: "--canary-ms <milliseconds>",
    text: "interval at which the server revokes a key of its own and tries it on every node",
    default: "never",
    parse: (text) => milliseconds("CLAVIGER_CANARY_MS", [SHORTEST_CANARY_MS, LONGEST_TIMER_SETTING_MS, 60_000], text),
  }),
  workers: plain({
    variable: "CLAVIGER_WORKERS",
    flag: "--workers <number|auto>",
    text: "processes that serve the port together; auto: one for each core; needs Postgres",
    default: "1",
    parse: parseWorkers,
  }),
  onLimiterLoss: choice({
    variable: "CLAVIGER_ON_LIMITER_LOSS",
    flag: "--on-limiter-loss <allow|deny>",
    text: "verdict on keys with limits while Redis does not answer",
    values: ["allow", "deny"],
  }),
  flagsFile: plain({
    variable: "CLAVIGER_FLAGS_FILE",
    flag: "--flags-file <file>",
    text: "JSON of feature flags, watched, or a module with an OpenFeature provider",
    default: "all on",
    parse: asGiven,
  }),
  jwtIssuers: plain({
    variable: "CLAVIGER_JWT_ISSUERS",
    flag: "--jwt-issuers <json>",
    text: "JSON list of the issuers whose users may manage their keys, or @file",
    default: "service keys only",
    isJson: true,
    parse: parseIssuers,
  }),
} as const;

/** The same as a list. */
export const SETTINGS: readonly Setting[] = Object.values(SETTING);

/** Says in one line what a setting is, for help: its text and its default. */
export function describeSetting({ text, default: standard }: Setting): string {
  return `${text} (default: ${standard})`;
}

function plain<Value>(setting: Omit<Setting<Value>, "secret">): Setting<Value> {
  return { ...setting, secret: false };
}

function secret(setting: Omit<Setting, "secret" | "parse">): SecretSetting {
  return { ...setting, secret: true, parse: () => undefined };
}

/** One of several words; the first is the default unless `standard` says another. */
function choice<const Value extends string>(
  setting: Omit<Setting, "secret" | "parse" | "default"> & {
    readonly values: readonly [Value, ...Value[]];
    readonly standard?: Value;
  },
): Setting<Value> {
  const { values, standard = values[0], ...rest } = setting;
  return plain({
    ...{ ...rest, default: standard },
    parse: (text) => (text === undefined ? standard : oneOf(setting.variable, values, text)),
  });
}

function asGiven(text: string | undefined): string | undefined {
  return text;
}

function oneOf<Value extends string>(variable: string, values: readonly Value[], text: string): Value {
  const value = values.find((known) => known === text);
  if (value !== undefined) return value;
  throw new ConfigError(variable, `is ${JSON.stringify(text)}. Give one of ${values.join(", ")}`);
}

function milliseconds(
  variable: string,
  [shortest, longest, example]: readonly [number, number, number],
  text: string | undefined,
): number | undefined {
  if (text === undefined) return undefined;
  const ms = Number(text);
  if (Number.isInteger(ms) && ms >= shortest && ms <= longest) return ms;
  throw new ConfigError(
    variable,
    `is ${JSON.stringify(text)}. Give milliseconds from ${shortest} to ${longest}, such as ${example}`,
  );
}

function parseListen(variable: string, text: string): { readonly host: string; readonly port: number } {
  const address = parseListenAddress(text);
  if (address !== undefined) return address;
  throw new ConfigError(variable, `is ${JSON.stringify(text)}. Give host:port, such as 127.0.0.1:4640`);
}

function parseWorkers(text: string | undefined): number {
  const workers = text === "auto" ? availableParallelism() : Number(text ?? 1);
  if (Number.isInteger(workers) && workers >= 1 && workers <= MOST_WORKERS) return workers;
  throw new ConfigError(
    "CLAVIGER_WORKERS",
    `is ${JSON.stringify(text)}. Give a number from 1 to ${MOST_WORKERS}, or auto`,
  );
}

function parseTrustedHops(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const hops = Number(text);
  if (Number.isInteger(hops) && hops >= 1 && hops <= MOST_HOPS) return hops;
  throw new ConfigError("CLAVIGER_TRUSTED_HOPS", `is ${JSON.stringify(text)}. Give a number from 1 to ${MOST_HOPS}`);
}

/** The root secrets as bytes, newest first. */
export function parseRootSecrets(text: Secret): [Buffer, ...Buffer[]] {
  const roots = text
    .reveal()
    .split(/[\s,]+/)
    .filter((part) => part !== "")
    .map((part, index) => parseRoot(part, index + 1));
  const [newest, ...older] = roots;
  if (newest === undefined) throw new ConfigError("CLAVIGER_ROOT_SECRETS", "is empty. Put at least one in, in base64");
  return [newest, ...older];
}

function parseRoot(text: string, number: number): Buffer {
  const root = Buffer.from(text, "base64");
  if (!/^[A-Za-z0-9+/_-]+={0,2}$/.test(text) || root.length < MIN_ROOT_BYTES) {
    throw new ConfigError(
      "CLAVIGER_ROOT_SECRETS",
      `number ${number} is not base64 of at least ${MIN_ROOT_BYTES} bytes. Make one with \`openssl rand -base64 32\``,
    );
  }
  return root;
}
