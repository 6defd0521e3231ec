import { readFile } from "node:fs/promises";
import type { IssuerConfig } from "../../access/issuer-config.ts";
import { messageOf } from "../../keys/errors.ts";
import { Secret, shownPath } from "../../keys/secret.ts";
import { parseAddress } from "../../postgres/connect/address.ts";
import { parseTls, TLS_VARIABLES } from "../../postgres/connect/tls.ts";
import type { RedisAddress } from "../../redis/parse-redis-url.ts";
import { isLoopback } from "../../system/addresses.ts";
import type { LogFormat } from "../observe/logger.ts";
import { readRedis } from "../open/read-redis.ts";
import { ConfigError } from "../startup-error.ts";
import type { Policy } from "./policy.ts";
import { type CertificateFiles, readCertificateFiles } from "./read-pem.ts";
import { parseRootSecrets, SETTING, SETTINGS, type Setting } from "./settings.ts";
import { warnOfUnknownSettings } from "./unknown-settings.ts";

export { ConfigError };

/** The checked settings of the server. */
export interface ServerConfig {
  readonly listen: { readonly host: string; readonly port: number };
  /** The second port, for gateways. */
  readonly authzListen: { readonly host: string; readonly port: number } | undefined;
  /** Undefined: cleartext. */
  readonly tls: CertificateFiles | undefined;
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
  /** JSON file of the policies that gateways name; undefined: there are none. */
  readonly authzPolicies: string | undefined;
  /** Descriptor sets of the services behind gateways. */
  readonly services: readonly string[];
  /** Proxies that append to `x-forwarded-for`; undefined: none is trusted. */
  readonly trustedHops: number | undefined;
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
  /** Facts that the operator should know though they do not stop the start. */
  readonly warnings: readonly string[];
}

type Environment = Readonly<Record<string, string | undefined>>;

/** The number of a worker, from 1. No setting: the process that starts the workers sets it. */
export const WORKER_NUMBER = "CLAVIGER_WORKER_NUMBER";

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
  const files = await readJsonFiles(environment);
  const read = <Value>({ variable, parse }: Setting<Value>) =>
    parse(files.get(variable) ?? setting(environment, variable));
  const databaseUrl = await readDatabaseUrl(environment, SETTING.databaseUrl.variable);
  const redis = await readRedis({
    url: await readSecret(environment, SETTING.redisUrl.variable),
    files: { ca: read(SETTING.redisTlsCa), cert: read(SETTING.redisTlsCert), key: read(SETTING.redisTlsKey) },
    sentinelUsername: read(SETTING.redisSentinelUsername),
    sentinelPassword: await readSecret(environment, SETTING.redisSentinelPassword.variable),
  });
  const rootSecrets = await readRootSecrets(environment, needsRootSecrets && databaseUrl !== undefined);
  const embedded = databaseUrl === undefined;
  const workers = read(SETTING.workers);
  if (workers > 1 && embedded) throw oneProcess(environment);
  const number = Number(environment[WORKER_NUMBER] ?? 1);
  const listen = read(SETTING.listen);
  const authzListen = read(SETTING.authzListen);
  const tls = await readCertificateFiles(
    { variable: SETTING.tlsCert.variable, path: read(SETTING.tlsCert) },
    { variable: SETTING.tlsKey.variable, path: read(SETTING.tlsKey) },
  );
  const folder = read(SETTING.dataDir);
  const canaryMs = read(SETTING.canaryMs);
  return {
    listen,
    authzListen,
    tls,
    storage: databaseUrl === undefined ? { kind: "embedded", folder } : { kind: "postgres", url: databaseUrl },
    rootSecrets,
    leaseDatabaseUrl: await readDatabaseUrl(environment, SETTING.leaseDatabaseUrl.variable),
    redis,
    onDatabaseLoss: checkLoss(read(SETTING.onDatabaseLoss), redis),
    onLimiterLoss: read(SETTING.onLimiterLoss),
    // One of several workers is enough.
    canaryMs: number > 1 ? undefined : canaryMs,
    workers,
    verifyAccess: read(SETTING.verifyAccess),
    authzPolicies: read(SETTING.authzPolicies),
    services:
      read(SETTING.services)
        ?.split(",")
        .map((file) => file.trim()) ?? [],
    trustedHops: read(SETTING.trustedHops),
    reflection: (read(SETTING.reflection) ?? (embedded ? "on" : "off")) === "on",
    logLevel: read(SETTING.logLevel),
    logFormat: read(SETTING.logFormat),
    policy: adjustPolicy(read(SETTING.policy), { workers, leaseMs: read(SETTING.leaseMs) }),
    issuers: read(SETTING.jwtIssuers),
    flagsFile: read(SETTING.flagsFile),
    described: describeSettings(environment),
    warnings:
      number > 1
        ? []
        : [
            ...(tls === undefined ? exposure(listen.host) : []),
            ...(authzListen === undefined ? [] : authzExposure(authzListen.host)),
            ...warnOfUnknownSettings(environment),
          ],
  };
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
  return new Secret(await readText(`${variable}_FILE`, file));
}

/** The texts of JSON settings that name a file, `@<path>`, by variable. */
async function readJsonFiles(environment: Environment): Promise<ReadonlyMap<string, string>> {
  const texts = new Map<string, string>();
  for (const { variable, isJson } of SETTINGS) {
    const value = isJson === true ? setting(environment, variable) : undefined;
    if (value?.startsWith("@")) texts.set(variable, await readText(variable, value.slice(1)));
  }
  return texts;
}

async function readText(variable: string, file: string): Promise<string> {
  try {
    return (await readFile(file, "utf8")).trim();
  } catch (error) {
    const reason = error instanceof Error && "code" in error ? String(error.code) : "an error";
    throw new ConfigError(variable, `names ${shownPath(file)}, which cannot be read (${reason}). Correct the path`);
  }
}

async function readRootSecrets(environment: Environment, isRequired: boolean): Promise<Secret | undefined> {
  const { variable } = SETTING.rootSecrets;
  const rootSecrets = await readSecret(environment, variable);
  if (rootSecrets !== undefined) parseRootSecrets(rootSecrets);
  if (rootSecrets !== undefined || !isRequired) return rootSecrets;
  throw new ConfigError(
    variable,
    "is not set, and keys in Postgres need it on every node. Make one with `openssl rand -base64 32` and keep it safe",
  );
}

/** The URL, completed by the TLS variables of the environment. */
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
function checkLoss(
  choice: ServerConfig["onDatabaseLoss"],
  redis: RedisAddress | undefined,
): ServerConfig["onDatabaseLoss"] {
  if (choice === "deny" || redis?.kind === "standalone" || redis?.kind === "unix") return choice;
  throw new ConfigError(
    SETTING.onDatabaseLoss.variable,
    "is revocation-set, which takes one standalone Redis in REDIS_URL: neither none, nor Sentinel, nor a cluster. Set one, or choose deny",
  );
}

function oneProcess(environment: Environment): ConfigError {
  const { variable } = SETTING.workers;
  return new ConfigError(
    variable,
    `is ${setting(environment, variable)}, and the embedded database is for one process. Set DATABASE_URL, or leave it out`,
  );
}

/** Workers share the connections to Postgres that one process would have: more only queue there. */
function adjustPolicy(policy: Policy, own: { readonly workers: number; readonly leaseMs: number | undefined }): Policy {
  const { revocation, postgres } = policy;
  const { poolSize } = postgres;
  return {
    ...policy,
    revocation: { ...revocation, leaseMs: own.leaseMs ?? revocation.leaseMs },
    postgres: {
      ...postgres,
      poolSize: own.workers === 1 ? poolSize : Math.max(2, Math.ceil(poolSize / own.workers)),
    },
  };
}

/** The given settings, for the log of the start; secrets masked. */
function describeSettings(environment: Environment): Record<string, string> {
  const set = SETTINGS.flatMap(({ variable, secret }) => {
    const value = setting(environment, variable) ?? (setting(environment, `${variable}_FILE`) && "[from file]");
    return value === undefined || value === "" ? [] : [[variable, secret ? "[redacted]" : value] as const];
  });
  return Object.fromEntries(set);
}

/** Whatever is listened on beyond this machine without TLS is cleartext. */
function exposure(host: string): string[] {
  return isLoopback(host)
    ? []
    : [
        `CLAVIGER_LISTEN is ${host}: secrets cross the network in clear. Set CLAVIGER_TLS_CERT and CLAVIGER_TLS_KEY, or put TLS in front`,
      ];
}

function authzExposure(host: string): string[] {
  return isLoopback(host)
    ? []
    : [
        `CLAVIGER_AUTHZ_LISTEN is ${host}: every client that reaches that port can verify keys without a credential. Let only gateways reach it`,
      ];
}
