import { generateKeyPairSync, type KeyObject } from "node:crypto";
import type { IssuerConfig } from "../../src/access/issuer-config.ts";
import type { Fetch } from "../../src/access/load-keys.ts";
import { forgeToken } from "../forge-token.ts";

const ISSUER = "https://login.test";
const KEYS_URL = new URL("https://login.test/keys");

/** A key pair of the fake issuer. */
export interface FakeKey {
  readonly kid: string;
  readonly privateKey: KeyObject;
  readonly jwk: Readonly<Record<string, unknown>>;
}

/** An issuer without a network, for tests. */
export interface FakeIssuer {
  readonly config: IssuerConfig;
  readonly fetch: Fetch;
  /** The keys that it publishes at its `jwks_uri`, newest first. */
  keys: FakeKey[];
  /** Replaces its answers; `keysAnswer` is the usual one. */
  answer: Fetch;
  keysAnswer(): Promise<Response>;
  /** Requests so far. */
  readonly requests: readonly string[];
  /** Signs a token with the newest key; `undefined` removes a claim. */
  token(claims?: Readonly<Record<string, unknown>>, header?: Readonly<Record<string, unknown>>): string;
}

/** The fake clock starts at this second of 2026. */
export const START_SECONDS = 1_790_000_000;

export function createFakeIssuer(): FakeIssuer {
  const requests: string[] = [];
  const issuer: FakeIssuer = {
    config: {
      issuer: ISSUER,
      audiences: ["claviger"],
      keys: { kind: "url", url: KEYS_URL },
      algorithms: ["ES256"],
      ownerPrefix: "",
      adminClaim: { name: "roles", value: "claviger-admin" },
      clockToleranceSeconds: 5,
    },
    keys: [makeFakeKey("first")],
    requests,
    fetch: (url, init) => {
      requests.push(url);
      return issuer.answer(url, init);
    },
    answer: () => issuer.keysAnswer(),
    keysAnswer: async () => Response.json({ keys: issuer.keys.map(({ jwk }) => jwk) }),
    token: (claims, header) => {
      const [newest] = issuer.keys;
      if (newest === undefined) throw new Error("there is no key to sign with; put one into keys");
      return tokenOf(newest, claims, header);
    },
  };
  return issuer;
}

/** Signs a token with that key; valid for an hour from the start of the clock. */
export function tokenOf(
  key: FakeKey,
  claims: Readonly<Record<string, unknown>> = {},
  header: Readonly<Record<string, unknown>> = {},
): string {
  const usual = { iss: ISSUER, aud: "claviger", sub: "ada", iat: START_SECONDS, exp: START_SECONDS + 3600 };
  const { kid, privateKey } = key;
  return forgeToken({ header: { alg: "ES256", kid, ...header }, claims: { ...usual, ...claims }, key: privateKey });
}

export function makeFakeKey(kid: string): FakeKey {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  return { kid, privateKey, jwk: { ...publicKey.export({ format: "jwk" }), kid, alg: "ES256", use: "sig" } };
}
