import { readFile } from "node:fs/promises";
import { isIP } from "node:net";
import { availableParallelism } from "node:os";
import type { IssuerConfig } from "../../access/issuer-config.ts";
import { messageOf } from "../../keys/errors.ts";
import { shownPath } from "../../keys/redact.ts";
import { MIN_ROOT_BYTES } from "../../keys/root-secret.ts";
import { Secret } from "../../keys/secret.ts";
import { parseAddress } from "../../postgres/connect/address.ts";
import { parseTls, TLS_VARIABLES } from "../../postgres/connect/tls.ts";
import type { RedisAddress } from "../../redis/parse-redis-url.ts";
import type { LogFormat } from "../observe/logger.ts";
import { readRedis } from "../open/read-redis.ts";
import { ConfigError } from "./config-error.ts";
import { parseIssuers } from "./parse-issuers.ts";
import { LONGEST_TIMER_MS, parsePolicy } from "./parse-policy.ts";
import type { Policy } from "./policy.ts";
import { SETTINGS } from "./settings.ts";
import { warnOfUnknownSettings } from "./unknown-settings.ts";

export { ConfigError };

/** Everything that the server was told, checked. */
export interface ServerConfig {
  readonly listen: { readonly host: string; readonly port: number };
  readonly storage:
    | { readonly kind: "postgres"; readonly url: Secret }
    | { readonly kind: "embedded"; readonly folder: string };
  /** Newest first; undefined lets the embedded database make and keep its own. */
  readonly rootSecrets: Secret | undefined;
  /** A direct connection where `storage` names a transaction pooler; undefined: the same. */
  readonly leaseDatabaseUrl: Secret | undefined;
  readonly redis: RedisAddress | undefined;
  readonly onDatabaseLoss: "deny" | "revocation-set";
  readonly onLimiterLoss: "allow" | "deny";
  /** How often this process tries the promise on every node, in milliseconds; undefined: never. */
  readonly canaryMs: number | undefined;
  /** Processes that serve the port together. */
  readonly workers: number;
  readonly verifyAccess: "key" | "open";
  readonly reflection: boolean;
  readonly logLevel: string;
  readonly logFormat: LogFormat;
  readonly policy: Policy;
  /** Whose tokens make users; empty: service keys only. */
  readonly issuers: readonly IssuerConfig[];
  /** JSON file of flags, or a module with an OpenFeature provider; undefined: everything is on. */
  readonly flagsFile: string | undefined;
  /** The settings that were set, by variable, secrets masked; for the log. */
  readonly described: Readonly<Record<string, string>>;
  /** What the operator should know though it does not stop the start. */
  readonly warnings: readonly string[];
}

type Environment = Readonly<Record<string, string | undefined>>;

const LOG_LEVELS = ["trace", "debug", "info", "warn", "error", "fatal", "silent"] as const;

/**
 * Reads the configuration. The environment is passed in: the one place that reads the process' own is `cli/main.ts`.
 *
 * @param needsRootSecrets whether Postgres takes root secrets; default true. Changing the schema takes none.
 * @throws ConfigError that says which setting is wrong, what was wrong and what is right.
 */
export async function loadConfig(
  environment: Environment,
  { needsRootSecrets = true }: { readonly needsRootSecrets?: boolean } = {},
): Promise<ServerConfig> {
  const databaseUrl = await readDatabaseUrl(environment, "DATABASE_URL");
  const redis = await readRedis({
    url: await readSecret(environment, "REDIS_URL"),
    files: {
      ca: setting(environment, "REDIS_TLS_CA"),
      cert: setting(environment, "REDIS_TLS_CERT"),
      key: setting(environment, "REDIS_TLS_KEY"),
    },
    sentinelUsername: setting(environment, "REDIS_SENTINEL_USERNAME"),
    sentinelPassword: await readSecret(environment, "REDIS_SENTINEL_PASSWORD"),
  });
  const rootSecrets = await readSecret(environment, "CLAVIGER_ROOT_SECRETS");
  if (rootSecrets !== undefined) parseRootSecrets(rootSecrets);
  if (needsRootSecrets && rootSecrets === undefined && databaseUrl !== undefined) {
    throw new ConfigError(
      "CLAVIGER_ROOT_SECRETS",
      "is not set, and keys in Postgres need it on every node. Make one with `openssl rand -base64 32` and keep it safe",
    );
  }
  const workers = parseWorkers(setting(environment, "CLAVIGER_WORKERS"), databaseUrl === undefined);
  const number = Number(environment[WORKER_NUMBER] ?? 1);
  const listen = parseListen(setting(environment, "CLAVIGER_LISTEN") ?? "127.0.0.1:4640");
  const embedded = databaseUrl === undefined;
  const reflection = oneOf(environment, "CLAVIGER_REFLECTION", ["on", "off"]) ?? (embedded ? "on" : "off");
  const folder = setting(environment, "CLAVIGER_DATA_DIR") ?? ".claviger";
  return {
    listen,
    storage: databaseUrl === undefined ? { kind: "embedded", folder } : { kind: "postgres", url: databaseUrl },
    rootSecrets,
    leaseDatabaseUrl: await readDatabaseUrl(environment, "CLAVIGER_LEASE_DATABASE_URL"),
    redis,
    onDatabaseLoss: parseOnLoss(environment, redis),
    onLimiterLoss: oneOf(environment, "CLAVIGER_ON_LIMITER_LOSS", ["allow", "deny"]) ?? "allow",
    // One of several workers is enough.
    canaryMs: number > 1 ? undefined : parseCanary(setting(environment, "CLAVIGER_CANARY_MS")),
    workers,
    verifyAccess: oneOf(environment, "CLAVIGER_VERIFY_ACCESS", ["key", "open"]) ?? "key",
    reflection: reflection === "on",
    logLevel: oneOf(environment, "CLAVIGER_LOG_LEVEL", LOG_LEVELS) ?? "info",
    logFormat: oneOf(environment, "CLAVIGER_LOG_FORMAT", ["auto", "json", "text"]) ?? "auto",
    policy: sharedBy(
      workers,
      withLease(parsePolicy(setting(environment, "CLAVIGER_POLICY")), setting(environment, "CLAVIGER_LEASE_MS")),
    ),
    issuers: parseIssuers(setting(environment, "CLAVIGER_JWT_ISSUERS")),
    flagsFile: setting(environment, "CLAVIGER_FLAGS_FILE"),
    described: describeSettings(environment),
    warnings: number > 1 ? [] : [...exposure(listen.host), ...warnOfUnknownSettings(environment)],
  };
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

function parseRoot(text: string, place: number): Buffer {
  const root = Buffer.from(text, "base64");
  if (!/^[A-Za-z0-9+/_-]+={0,2}$/.test(text) || root.length < MIN_ROOT_BYTES) {
    throw new ConfigError(
      "CLAVIGER_ROOT_SECRETS",
      `number ${place} is not base64 of at least ${MIN_ROOT_BYTES} bytes. Make one with \`openssl rand -base64 32\``,
    );
  }
  return root;
}

function setting(environment: Environment, variable: string): string | undefined {
  const value = environment[variable]?.trim();
  return value === "" ? undefined : value;
}

async function readSecret(environment: Environment, variable: string): Promise<Secret | undefined> {
  const value = setting(environment, variable);
  const file = setting(environment, `${variable}_FILE`);
  if (file === undefined) return value === undefined ? undefined : new Secret(value);
  if (value !== undefined) throw new ConfigError(variable, `and ${variable}_FILE are both set. Unset one of them`);
  try {
    return new Secret((await readFile(file, "utf8")).trim());
  } catch (error) {
    const reason = error instanceof Error && "code" in error ? String(error.code) : "an error";
    throw new ConfigError(
      `${variable}_FILE`,
      `names ${shownPath(file)}, which cannot be read (${reason}). Correct the path`,
    );
  }
}

function oneOf<Value extends string>(
  environment: Environment,
  variable: string,
  values: readonly Value[],
): Value | undefined {
  const given = setting(environment, variable);
  if (given === undefined) return undefined;
  const value = values.find((known) => known === given);
  if (value === undefined)
    throw new ConfigError(variable, `is ${JSON.stringify(given)}. Give one of ${values.join(", ")}`);
  return value;
}

function parseListen(text: string): ServerConfig["listen"] {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  if (host === undefined || port > 65535) {
    throw new ConfigError("CLAVIGER_LISTEN", `is ${JSON.stringify(text)}. Give host:port, such as 127.0.0.1:4640`);
  }
  return { host, port };
}

/** The URL, completed by what the environment says of TLS. */
async function readDatabaseUrl(environment: Environment, variable: string): Promise<Secret | undefined> {
  const given = (await readSecret(environment, variable))?.reveal();
  if (given === undefined) return undefined;
  try {
    const { parameters } = parseAddress(given);
    const added = TLS_VARIABLES.flatMap(([name, ...inUrl]) => {
      const value = setting(environment, name);
      const isMissing = value !== undefined && !inUrl.some((parameter) => parameters.has(parameter));
      return isMissing ? [`${inUrl[0]}=${encodeURIComponent(value)}`] : [];
    });
    const url = added.length === 0 ? given : `${given}${given.includes("?") ? "&" : "?"}${added.join("&")}`;
    parseTls(parseAddress(url).parameters);
    return new Secret(url);
  } catch (error) {
    throw new ConfigError(variable, messageOf(error));
  }
}

/** A Redis that fails over may lose what it acknowledged, and with it a revocation. */
function parseOnLoss(environment: Environment, redis: RedisAddress | undefined): ServerConfig["onDatabaseLoss"] {
  const variable = "CLAVIGER_ON_DATABASE_LOSS";
  const choice = oneOf(environment, variable, ["deny", "revocation-set"]) ?? "deny";
  if (choice === "revocation-set" && redis?.kind !== "standalone" && redis?.kind !== "unix") {
    throw new ConfigError(
      variable,
      "is revocation-set, which takes one standalone Redis in REDIS_URL: neither none, nor Sentinel, nor a cluster. Set one, or choose deny",
    );
  }
  return choice;
}

const SHORTEST_CANARY_MS = 1000;

function parseCanary(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const ms = Number(text);
  if (Number.isInteger(ms) && ms >= SHORTEST_CANARY_MS && ms <= LONGEST_TIMER_MS) return ms;
  throw new ConfigError(
    "CLAVIGER_CANARY_MS",
    `is ${JSON.stringify(text)}. Give milliseconds from ${SHORTEST_CANARY_MS} to ${LONGEST_TIMER_MS}, such as 60000`,
  );
}

/** What a worker's number, from 1, is handed on in. No setting: whoever starts the workers sets it. */
export const WORKER_NUMBER = "CLAVIGER_WORKER_NUMBER";
const MOST_WORKERS = 256;

function parseWorkers(text: string | undefined, isEmbedded: boolean): number {
  const variable = "CLAVIGER_WORKERS";
  const workers = text === "auto" ? availableParallelism() : Number(text ?? 1);
  if (!Number.isInteger(workers) || workers < 1 || workers > MOST_WORKERS) {
    throw new ConfigError(variable, `is ${JSON.stringify(text)}. Give a number from 1 to ${MOST_WORKERS}, or auto`);
  }
  if (workers > 1 && isEmbedded) {
    throw new ConfigError(
      variable,
      `is ${text}, and the embedded database is for one process. Set DATABASE_URL, or leave it out`,
    );
  }
  return workers;
}

/** Workers share the connections to Postgres that one process would have: more only queue there. */
function sharedBy(workers: number, policy: Policy): Policy {
  return workers === 1 ? policy : { ...policy, poolSize: Math.max(2, Math.ceil(policy.poolSize / workers)) };
}

const SHORTEST_LEASE_MS = 200;
const LONGEST_LEASE_MS = 60_000;

function withLease(policy: Policy, text: string | undefined): Policy {
  const leaseMs = text === undefined ? policy.leaseMs : Number(text);
  if (!Number.isInteger(leaseMs) || leaseMs < SHORTEST_LEASE_MS || leaseMs > LONGEST_LEASE_MS) {
    throw new ConfigError(
      "CLAVIGER_LEASE_MS",
      `is ${JSON.stringify(text ?? leaseMs)}. Give milliseconds from ${SHORTEST_LEASE_MS} to ${LONGEST_LEASE_MS}, such as 3000`,
    );
  }
  return { ...policy, leaseMs };
}

/** What was set, for the log of the start; secrets masked. */
function describeSettings(environment: Environment): Record<string, string> {
  const set = SETTINGS.flatMap(({ variable, secret }) => {
    const value = setting(environment, variable) ?? (setting(environment, `${variable}_FILE`) && "[from file]");
    return value === undefined || value === "" ? [] : [[variable, secret ? "[redacted]" : value] as const];
  });
  return Object.fromEntries(set);
}

/** TLS is not built yet: whatever is listened on beyond this machine is cleartext. */
function exposure(host: string): string[] {
  const isLoopback = host === "localhost" || host === "::1" || (isIP(host) === 4 && host.startsWith("127."));
  return isLoopback ? [] : [`CLAVIGER_LISTEN is ${host}: secrets cross the network in clear. Put TLS in front`];
}
