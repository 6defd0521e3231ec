import { createPrivateKey, X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import { messageOf } from "../../keys/errors.ts";
import { type Secret, shownPath } from "../../keys/secret.ts";
import { parseRedisUrl, type RedisAddress, type RedisCertificates } from "../../redis/parse-redis-url.ts";
import { ConfigError } from "../startup-error.ts";

/** The settings about Redis, as they are given. */
export interface RedisSettings {
  readonly url: Secret | undefined;
  /** Paths of files in PEM. */
  readonly files: {
    readonly ca: string | undefined;
    readonly cert: string | undefined;
    readonly key: string | undefined;
  };
  readonly sentinelUsername: string | undefined;
  readonly sentinelPassword: Secret | undefined;
}

/**
 * Reads the address of Redis, and the files of its credentials.
 *
 * @throws ConfigError that names the wrong setting, and the right form
 */
export async function readRedis(settings: RedisSettings): Promise<RedisAddress | undefined> {
  const address = parse(settings.url);
  const certificates = await readCertificates(settings.files);
  if (certificates !== undefined && !speaksTls(address)) {
    throw new ConfigError(
      "REDIS_URL",
      "is not for TLS, and REDIS_TLS_CA or REDIS_TLS_CERT is set. Give rediss:// or rediss+sentinel://, or unset them",
    );
  }
  const { sentinelUsername: username, sentinelPassword } = settings;
  if ((username ?? sentinelPassword) !== undefined && address?.kind !== "sentinel") {
    throw new ConfigError(
      sentinelPassword === undefined ? "REDIS_SENTINEL_USERNAME" : "REDIS_SENTINEL_PASSWORD",
      "is set, and REDIS_URL names no sentinels. Give redis+sentinel://, or unset it",
    );
  }
  if (address === undefined || address.kind === "unix") return address;
  const secured = { ...address, ...(certificates === undefined ? {} : { certificates }) };
  if (secured.kind !== "sentinel" || (username ?? sentinelPassword) === undefined) return secured;
  return { ...secured, sentinelAccess: { username, password: sentinelPassword?.reveal() } };
}

function parse(url: Secret | undefined): RedisAddress | undefined {
  if (url === undefined) return undefined;
  try {
    return parseRedisUrl(url.reveal());
  } catch (error) {
    throw new ConfigError("REDIS_URL", messageOf(error));
  }
}

function speaksTls(address: RedisAddress | undefined): boolean {
  switch (address?.kind) {
    case "standalone":
      return address.url.startsWith("rediss:");
    case "cluster":
      return address.urls[0].startsWith("rediss:");
    case "sentinel":
      return address.tls;
    default:
      return false;
  }
}

async function readCertificates({ ca, cert, key }: RedisSettings["files"]): Promise<RedisCertificates | undefined> {
  if (cert === undefined && key !== undefined) {
    throw new ConfigError("REDIS_TLS_KEY", "is set without REDIS_TLS_CERT. Set both, or none");
  }
  if (cert !== undefined && key === undefined) {
    throw new ConfigError("REDIS_TLS_CERT", "is set without REDIS_TLS_KEY. Set both, or none");
  }
  const certificates = {
    ...(ca === undefined ? {} : { ca: await readPem("REDIS_TLS_CA", ca, readCertificate) }),
    ...(cert === undefined ? {} : { cert: await readPem("REDIS_TLS_CERT", cert, readCertificate) }),
    ...(key === undefined ? {} : { key: await readPem("REDIS_TLS_KEY", key, createPrivateKey) }),
  };
  const { cert: ofClient, key: itsKey } = certificates;
  if (ofClient !== undefined && itsKey !== undefined) {
    const isPair = readCertificate(ofClient).checkPrivateKey(createPrivateKey(itsKey));
    if (!isPair)
      throw new ConfigError("REDIS_TLS_KEY", "is not the key of the certificate in REDIS_TLS_CERT. Correct one");
  }
  return Object.keys(certificates).length === 0 ? undefined : certificates;
}

const readCertificate = (pem: string) => new X509Certificate(pem);

async function readPem(variable: string, path: string, check: (pem: string) => unknown): Promise<string> {
  const pem = await readFile(path, "utf8").catch((error: unknown) => {
    const reason = error instanceof Error && "code" in error ? String(error.code) : "an error";
    throw new ConfigError(variable, `names ${shownPath(path)}, which cannot be read (${reason}). Correct the path`);
  });
  try {
    check(pem);
  } catch {
    const kind = variable === "REDIS_TLS_KEY" ? "private key without a passphrase" : "certificate";
    throw new ConfigError(variable, `names ${shownPath(path)}, which is not a ${kind} in PEM. Give such a file`);
  }
  return pem;
}
