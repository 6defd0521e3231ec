import { messageOf } from "../../keys/errors.ts";
import type { Secret } from "../../keys/secret.ts";
import { parseRedisUrl, type RedisAddress, type RedisCertificates } from "../../redis/parse-redis-url.ts";
import { readCertificate, readKeyPair } from "../config/read-pem.ts";
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
  const trusted = ca && (await readCertificate({ variable: "REDIS_TLS_CA", path: ca }));
  const pair = await readKeyPair({ variable: "REDIS_TLS_CERT", path: cert }, { variable: "REDIS_TLS_KEY", path: key });
  if (trusted === undefined && pair === undefined) return undefined;
  return { ...(trusted === undefined ? {} : { ca: trusted }), ...pair };
}
