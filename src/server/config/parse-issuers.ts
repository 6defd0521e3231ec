import { type IssuerConfig, type KeyLocation, SIGNATURE_ALGORITHMS } from "../../access/issuer-config.ts";
import { ISSUER_URL_RULE, issuerUrl } from "../../access/load-keys.ts";
import { isReservedOwner, ownerProblem, RESERVED_OWNERS } from "../../keys/owner.ts";
import { isObject } from "../../system/json.ts";
import { ConfigError } from "../startup-error.ts";

export type { IssuerConfig };

const VARIABLE = "CLAVIGER_JWT_ISSUERS";
const EXAMPLE =
  '[{"issuer": "https://login.example.com", "audience": "https://keys.example.com", "algorithms": ["RS256"]}]';
const DISCOVERY_PATH = "/.well-known/openid-configuration";
const DEFAULT_TOLERANCE_SECONDS = 5;
const MAX_TOLERANCE_SECONDS = 60;
const FIELDS = [
  "issuer",
  "audience",
  "jwks_url",
  "jwks_file",
  "algorithms",
  "owner_prefix",
  "admin_claim",
  "clock_tolerance_seconds",
];

type Fields = Readonly<Record<string, unknown>>;

/**
 * The issuers of user tokens in `text`, a JSON list of objects, or one object:
 *
 * - `issuer`: exactly the `iss` of its tokens.
 * - `audience`: a string or a list; a token has to be for one of them.
 * - `jwks_url` or `jwks_file`: its keys. With neither they are discovered at `<issuer>/.well-known/openid-configuration`.
 * - `algorithms`: a list out of `SIGNATURE_ALGORITHMS`.
 * - `owner_prefix`: the text before `sub` in the owner. Default empty.
 * - `admin_claim`: `{"name", "value"}`; a user with it is an administrator. Default: no user is.
 * - `clock_tolerance_seconds`: 0 to 60. Default 5.
 *
 * @throws ConfigError that names the fault and the right form.
 */
export function parseIssuers(text: string | undefined): readonly IssuerConfig[] {
  if (text === undefined) return [];
  const issuers = parseObjects(text).map(parseIssuer);
  issuers.forEach((issuer, index) => {
    for (const earlier of issuers.slice(0, index)) refuseOverlap(earlier, issuer);
  });
  return issuers;
}

function parseObjects(text: string): Fields[] {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new ConfigError(VARIABLE, `is not JSON. Give a list such as ${EXAMPLE}`);
  }
  const list = Array.isArray(value) ? value : [value];
  if (list.every(isObject)) return list;
  throw new ConfigError(VARIABLE, `is not a list of objects. Give one such as ${EXAMPLE}`);
}

function parseIssuer(fields: Fields, index: number): IssuerConfig {
  const { issuer } = fields;
  if (!isText(issuer)) throw refused(`number ${index + 1}`, "no issuer", "the `iss` of its tokens");
  refuseUnknown(fields, FIELDS, issuer);
  return {
    issuer,
    audiences: parseAudiences(fields.audience, issuer),
    keys: parseKeys(fields, issuer),
    algorithms: parseAlgorithms(fields.algorithms, issuer),
    ownerPrefix: parsePrefix(fields.owner_prefix ?? "", issuer),
    adminClaim: parseAdminClaim(fields.admin_claim, issuer),
    clockToleranceSeconds: parseTolerance(fields.clock_tolerance_seconds ?? DEFAULT_TOLERANCE_SECONDS, issuer),
  };
}

function parseAudiences(value: unknown, issuer: string): readonly string[] {
  const list = isText(value) ? [value] : value;
  if (isListOfText(list)) return list;
  throw refused(issuer, show("audience", value), "the `aud` that its tokens for Claviger have, or a list of them");
}

function parseKeys({ jwks_url: url, jwks_file: file }: Fields, issuer: string): KeyLocation {
  if (url !== undefined && file !== undefined) {
    throw refused(issuer, "jwks_url and jwks_file", "one of them, or neither for discovery");
  }
  if (url !== undefined) return { kind: "url", url: parseUrl("jwks_url", url, issuer) };
  if (file === undefined) {
    const base = parseUrl("issuer", issuer, issuer);
    if (base.search !== "") throw refused(issuer, "a query", "a jwks_url, since nothing can be discovered there");
    return { kind: "discovery", url: new URL(base.href.replace(/\/$/, "") + DISCOVERY_PATH) };
  }
  if (!isText(file)) throw refused(issuer, show("jwks_file", file), "the path of a JSON file with its JWK Set");
  return { kind: "file", path: file };
}

function parseUrl(name: string, value: unknown, issuer: string): URL {
  const url = isText(value) ? issuerUrl(value) : undefined;
  if (url !== undefined) return url;
  const otherwise = name === "issuer" ? ", or a jwks_url or jwks_file" : "";
  // Not shown: it may have a password in it.
  throw refused(issuer, `no usable URL as ${name}`, `${ISSUER_URL_RULE}${otherwise}`);
}

function parseAlgorithms(value: unknown, issuer: string): readonly string[] {
  const right = `a list of those that it signs with, out of ${SIGNATURE_ALGORITHMS.join(", ")}`;
  if (!isListOfText(value)) throw refused(issuer, show("algorithms", value), right);
  const wrong = value.filter((name) => !SIGNATURE_ALGORITHMS.includes(name));
  if (wrong.length > 0) throw refused(issuer, show("algorithms", wrong), right);
  return value;
}

function parsePrefix(value: unknown, issuer: string): string {
  const isPrefix = typeof value === "string" && ownerProblem(`${value}x`) === undefined;
  if (isPrefix && !isReservedOwner(value)) return value;
  const right = `at most 254 bytes without control or invisible characters, not beginning with white space, not beginning with ${RESERVED_OWNERS}, which is reserved`;
  throw refused(issuer, show("owner_prefix", value), right);
}

function parseAdminClaim(value: unknown, issuer: string): IssuerConfig["adminClaim"] {
  if (value === undefined) return undefined;
  const right = 'an object such as {"name": "roles", "value": "claviger-admin"}';
  if (!isObject(value)) throw refused(issuer, show("admin_claim", value), right);
  refuseUnknown(value, ["name", "value"], `${issuer} (admin_claim)`);
  if (!isText(value.name) || !isText(value.value)) throw refused(issuer, show("admin_claim", value), right);
  return { name: value.name, value: value.value };
}

function parseTolerance(value: unknown, issuer: string): number {
  if (typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= MAX_TOLERANCE_SECONDS)
    return value;
  const right = `whole seconds from 0 to ${MAX_TOLERANCE_SECONDS}; set the clocks if that is not enough`;
  throw refused(issuer, show("clock_tolerance_seconds", value), right);
}

/** With prefixes of which one begins the other, `ab` + `c` of one issuer and `a` + `bc` of the other are one owner. */
function refuseOverlap(one: IssuerConfig, other: IssuerConfig): void {
  if (one.issuer === other.issuer) throw new ConfigError(VARIABLE, `has ${one.issuer} twice. Leave one out`);
  const [a, b] = [one.ownerPrefix, other.ownerPrefix];
  if (!a.startsWith(b) && !b.startsWith(a)) return;
  throw new ConfigError(
    VARIABLE,
    `has owner_prefix ${JSON.stringify(a)} for ${one.issuer} and ${JSON.stringify(b)} for ${other.issuer}: ` +
      'users of both could be one owner. Give each one that does not begin another\'s, such as "a:" and "b:"',
  );
}

function refuseUnknown(fields: Fields, known: readonly string[], place: string): void {
  const unknown = Object.keys(fields).filter((name) => !known.includes(name));
  if (unknown.length > 0) {
    throw new ConfigError(VARIABLE, `has ${unknown.join(", ")} for ${place}. It takes ${known.join(", ")}`);
  }
}

function refused(place: string, wrong: string, right: string): ConfigError {
  return new ConfigError(VARIABLE, `has ${wrong} for ${place}. Give ${right}`);
}

function show(name: string, value: unknown): string {
  return value === undefined ? `no ${name}` : `${JSON.stringify(value)} as ${name}`;
}

function isText(value: unknown): value is string {
  return typeof value === "string" && value !== "";
}

function isListOfText(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.length > 0 && value.every(isText);
}
