import { isIPv6 } from "node:net";

/** Where a Postgres is, as its URL says. */
export interface PostgresAddress {
  /** In the order of the URL; never empty. A host that begins with `/` is the folder of a Unix socket. */
  readonly hosts: readonly { readonly host: string; readonly port: number }[];
  /** Undefined: from PGUSER, PGPASSWORD and PGDATABASE, which the driver reads. */
  readonly user: string | undefined;
  readonly password: string | undefined;
  readonly database: string | undefined;
  /** The parameters of the query, by name. */
  readonly parameters: ReadonlyMap<string, string>;
}

const FORM =
  "Give postgres://user:password@host:5432/database, several hosts with commas, or for a socket postgres://user@/database?host=/run/postgresql";
const NO_ADDRESS = `is not a Postgres address. ${FORM}`;
const AMBIGUOUS =
  "is not clear: a character of the user name or the password may end it early. Percent-encode it: @ as %40, / as %2F, # as %23, ? as %3F, % as %25";

const DEFAULT_PORT = 5432;
/** All of them lead to the primary: no other server can be used. */
const PRIMARY_ATTRIBUTES = ["any", "read-write", "primary"];

/**
 * Parses a URL as libpq does (https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-URIS), several
 * hosts too. It refuses what libpq and WHATWG read differently, so that no piece of a password is taken for a host.
 *
 * @throws Error whose message continues "DATABASE_URL …" and holds nothing of the URL.
 */
export function parseAddress(url: string): PostgresAddress {
  const [, rest, authority = "", path = "", query = ""] =
    /^postgres(?:ql)?:\/\/(([^/?#]*)\/?([^?#]*)\??(.*))$/s.exec(url.trim()) ?? [];
  if (rest === undefined) throw new Error(NO_ADDRESS);
  const [credentials, places] = authority.includes("@") ? cut(authority, "@") : ["", authority];
  if (rest.includes("#") || `${places}${path}${query}`.includes("@")) throw new Error(AMBIGUOUS);
  const [user, password] = cut(credentials, ":");
  const parameters = new Map(new URLSearchParams(query));
  const named = (name: string, text: string) => parameters.get(name) || decode(text) || undefined;
  requirePrimary(parameters.get("target_session_attrs"));
  return {
    hosts: parseHosts(places, parameters),
    user: named("user", user),
    password: named("password", password),
    database: named("dbname", path),
    parameters,
  };
}

/** Hosts, ports and database, for people. */
export function describeAddress({ hosts, database }: PostgresAddress): string {
  const places = hosts.map(({ host, port }) => `${isIPv6(host) ? `[${host}]` : host}:${port}`);
  return `${places.join(",")}${database === undefined ? "" : `/${database}`}`;
}

function parseHosts(places: string, parameters: PostgresAddress["parameters"]): PostgresAddress["hosts"] {
  const inQuery = parameters.get("host");
  const split = places.split(",").map((place) => /^(\[[^\]]*\]|[^:[\]]*)(?::(\d*))?$/.exec(place));
  const ports = parameters.get("port")?.split(",");
  const hosts = inQuery?.split(",") ?? split.map((match) => decode(match?.[1] ?? "").replace(/^\[(.*)\]$/, "$1"));
  if (split.includes(null) || (ports !== undefined && ports.length > 1 && ports.length !== hosts.length)) {
    throw new Error(NO_ADDRESS);
  }
  return hosts.map((host, at) => {
    const port = Number((ports?.[at] ?? ports?.[0] ?? split[at]?.[2]) || DEFAULT_PORT);
    if (!isHost(host) || !Number.isInteger(port) || port < 1 || port > 65535) throw new Error(NO_ADDRESS);
    return { host: host || "localhost", port };
  });
}

function isHost(text: string): boolean {
  return text.startsWith("/") || isIPv6(text) || /^[\p{L}\p{N}._-]*$/u.test(text);
}

function requirePrimary(attributes: string | undefined): void {
  if (attributes === undefined || PRIMARY_ATTRIBUTES.includes(attributes)) return;
  throw new Error(
    "has target_session_attrs that do not lead to the primary, which Claviger needs. Set read-write, or leave it out",
  );
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new Error(AMBIGUOUS);
  }
}

/** The text before and after the first `mark`. */
function cut(text: string, mark: string): readonly [string, string] {
  const at = text.indexOf(mark);
  return at === -1 ? [text, ""] : [text.slice(0, at), text.slice(at + mark.length)];
}
