import { readFileSync } from "node:fs";
import type { ConnectionOptions } from "node:tls";
import type { PostgresAddress } from "./address.ts";

/** Makes what node-postgres takes as `ssl`. Reads its files each time, so that certificates can be renewed. */
export type Tls = () => false | ConnectionOptions;

/** The variables that libpq reads, the parameter of each, and other parameters that also win over the variable. */
export const TLS_VARIABLES: readonly (readonly [variable: string, parameter: string, ...others: string[]])[] = [
  ["PGSSLMODE", "sslmode", "ssl"],
  ["PGSSLROOTCERT", "sslrootcert"],
  ["PGSSLCERT", "sslcert"],
  ["PGSSLKEY", "sslkey"],
];

/** `sslrootcert` of libpq for the certificates that are trusted anyway; here those of Node. */
const SYSTEM = "system";

/**
 * The ways to secure a connection, in the order in which to try them, by libpq's `sslmode`
 * (https://www.postgresql.org/docs/current/libpq-ssl.html#LIBPQ-SSL-PROTECTION). Stricter than libpq without a mode if
 * certificates are named (verify-full), and for verify-ca without a root certificate of the operator's (verify-full).
 *
 * @throws Error whose message continues "DATABASE_URL …".
 */
export function parseTls(parameters: PostgresAddress["parameters"]): readonly [Tls, ...Tls[]] {
  const plain: Tls = () => false;
  const unverified: Tls = () => ({ ...certificates(parameters), rejectUnauthorized: false });
  const full: Tls = () => certificates(parameters);
  const hasRoot = ![undefined, SYSTEM].includes(parameters.get("sslrootcert"));
  const byAuthority: Tls = hasRoot ? () => ({ ...full(), checkServerIdentity: () => undefined }) : full;
  switch (parameters.get("sslmode") ?? defaultMode(parameters)) {
    case "disable":
      return [plain];
    case "allow":
      return [plain, unverified];
    case "prefer":
      return [unverified, plain];
    case "require":
      return [parameters.has("sslrootcert") ? byAuthority : unverified];
    case "verify-ca":
      return [byAuthority];
    case "verify-full":
      return [full];
    case "no-verify":
      return [unverified];
    default:
      throw new Error(
        "has an unknown sslmode. Give one of disable, allow, prefer, require, verify-ca, verify-full, or no-verify",
      );
  }
}

/** As node-postgres reads its own parameter `ssl`. */
function defaultMode(parameters: PostgresAddress["parameters"]): string {
  const ssl = parameters.get("ssl");
  if (ssl === "no-verify") return ssl;
  const isNamed = ["sslrootcert", "sslcert", "sslkey"].some((name) => parameters.has(name));
  return isNamed || ssl === "true" || ssl === "1" ? "verify-full" : "disable";
}

function certificates(parameters: PostgresAddress["parameters"]): ConnectionOptions {
  const read = (name: string) => {
    const file = parameters.get(name);
    return file === undefined || file === SYSTEM ? undefined : readFileSync(file, "utf8");
  };
  const given = { ca: read("sslrootcert"), cert: read("sslcert"), key: read("sslkey") };
  return Object.fromEntries(Object.entries(given).filter(([, text]) => text !== undefined));
}
