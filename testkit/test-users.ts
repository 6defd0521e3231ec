import { generateKeyPairSync, type KeyObject } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { forgeToken } from "./forge-token.ts";

/** Issuers of tokens: two that the server trusts, and one that it has never heard of. */
export type TestIssuer = "acme" | "globex" | "stranger";

export interface TestTokenOptions {
  /** Default `acme`. */
  readonly issuer?: TestIssuer;
  /** Over the usual claims. */
  readonly claims?: Readonly<Record<string, unknown>>;
}

/** The platform's own authentication, without a process: the server reads its keys from files. */
export interface TestUsers {
  /** Trusts `acme` (owners `acme:<sub>`, `roles` with `keys-admin` for administrators) and `globex` (`globex:<sub>`). */
  readonly settings: { readonly CLAVIGER_JWT_ISSUERS: string };
  /** A token of that subject, good for 10 minutes. */
  token(subject: string, options?: TestTokenOptions): string;
  remove(): void;
}

const AUDIENCE = "claviger";
const KEY_ID = "k1";

/** The claims that `admin_claim` of the tests names. */
export const ADMIN_CLAIMS = { roles: ["keys-admin"] };

/** Makes the issuers' keys; `remove` takes their files away. */
export function createTestUsers(): TestUsers {
  const folder = mkdtempSync(join(tmpdir(), "claviger-issuers-"));
  const keys = {
    acme: makeKey(folder, "acme"),
    globex: makeKey(folder, "globex"),
    stranger: makeKey(folder, "stranger"),
  };
  const trust = (issuer: TestIssuer) => ({
    issuer: urlOf(issuer),
    audience: AUDIENCE,
    jwks_file: join(folder, `${issuer}.json`),
    algorithms: ["ES256"],
    owner_prefix: `${issuer}:`,
  });
  const acme = { ...trust("acme"), admin_claim: { name: "roles", value: "keys-admin" } };
  return {
    settings: { CLAVIGER_JWT_ISSUERS: JSON.stringify([acme, trust("globex")]) },
    token: (sub, { issuer = "acme", claims = {} } = {}) => {
      const now = Math.floor(Date.now() / 1000);
      const usual = { iss: urlOf(issuer), aud: AUDIENCE, sub, iat: now, exp: now + 600 };
      return forgeToken({ header: { alg: "ES256", kid: KEY_ID }, claims: { ...usual, ...claims }, key: keys[issuer] });
    },
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}

function urlOf(issuer: TestIssuer): string {
  return `https://login.${issuer}.example`;
}

function makeKey(folder: string, issuer: TestIssuer): KeyObject {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const jwk = { ...publicKey.export({ format: "jwk" }), kid: KEY_ID, alg: "ES256", use: "sig" };
  writeFileSync(join(folder, `${issuer}.json`), JSON.stringify({ keys: [jwk] }));
  return privateKey;
}
