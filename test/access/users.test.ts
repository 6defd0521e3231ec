import { createPublicKey, generateKeyPairSync, type KeyObject } from "node:crypto";
import { once } from "node:events";
import { createServer, type RequestListener } from "node:http";
import {
  createRemoteJWKSet,
  decodeJwt,
  decodeProtectedHeader,
  EmbeddedJWK,
  type JWK,
  jwtVerify,
  UnsecuredJWT,
} from "jose";
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from "vitest";
import type { IssuerConfig } from "../../src/access/issuer-config.ts";
import { createUserAuthenticator, type UserAuthenticatorLimits } from "../../src/access/jwt-issuers.ts";
import { ClavigerError } from "../../src/keys/errors.ts";
import { parseIssuers } from "../../src/server/config/parse-issuers.ts";
import { forgeToken } from "../../testkit/forge-token.ts";
import { type OidcIssuer, startOidcIssuer } from "../../testkit/oidc-issuer.ts";

const ORIGIN = { address: "192.0.2.1", requestId: "r1" };
const COOLDOWN_MS = 30_000;

let issuer: OidcIssuer;
let other: OidcIssuer;

beforeAll(async () => {
  [issuer, other] = await Promise.all([startOidcIssuer(), startOidcIssuer()]);
});
afterAll(() => Promise.all([issuer?.stop(), other?.stop()]));
beforeEach(() => issuer.setAway({ isAway: false }));

interface Setup {
  readonly issuers?: readonly IssuerConfig[];
  readonly limits?: Partial<UserAuthenticatorLimits>;
}

function configured(settings: Readonly<Record<string, unknown>> = {}): IssuerConfig {
  const usual = { issuer: issuer.url, audience: "claviger", algorithms: ["RS256"], owner_prefix: "acme:" };
  const [config] = parseIssuers(JSON.stringify({ ...usual, ...settings }));
  if (config === undefined) throw new Error("no issuer was parsed");
  return config;
}

/** A server's users, with a clock that runs ahead as told. */
function setUp({ issuers = [configured()], limits = {} }: Setup = {}) {
  let ahead = 0;
  const users = createUserAuthenticator({
    issuers,
    grantableScopes: ["*"],
    clock: { now: () => Date.now() + ahead },
    limits,
    onWarning: () => undefined,
  });
  onTestFinished(() => users.close());
  const caller = (token: string) => users.authenticate(token, ORIGIN);
  const outcome = (token: string) =>
    caller(token).then(
      ({ owner }) => owner,
      (error: unknown) => {
        if (!(error instanceof ClavigerError)) throw error;
        return error.metadata.cause ?? error.reason;
      },
    );
  return {
    caller,
    outcome,
    advance: (ms: number) => {
      ahead += ms;
    },
  };
}

function makeAttacker(kid: string | undefined) {
  const { privateKey, publicKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const jwk: JWK = { ...publicKey.export({ format: "jwk" }), ...(kid === undefined ? {} : { kid }), alg: "RS256" };
  return { privateKey, jwk };
}

/** The genuine token with another header, signed with what the attacker has. */
function resign(token: string, header: Readonly<Record<string, unknown>>, key?: KeyObject | Buffer): string {
  const forged = { header: { ...decodeProtectedHeader(token), ...header }, claims: decodeJwt(token) };
  return forgeToken(key === undefined ? forged : { ...forged, key });
}

async function currentKey(): Promise<JWK> {
  const [jwk] = (await issuer.publicKeys()).keys;
  if (jwk === undefined) throw new Error("the issuer has no key");
  return jwk;
}

describe("a user of a real issuer", () => {
  test("is known by a token of it, its keys discovered", async () => {
    const { caller } = setUp({ issuers: [configured({ admin_claim: { name: "realm.roles", value: "keys-admin" } })] });
    const ada = await caller(await issuer.issue("ada"));
    expect(ada).toMatchObject({ kind: "user", owner: "acme:ada", isAdmin: false, ...ORIGIN });
    const root = await caller(await issuer.issue("root", { claims: { realm: { roles: ["keys-admin"] } } }));
    expect(root).toMatchObject({ owner: "acme:root", isAdmin: true });
  });

  test("is known with a configured JWKS URL", async () => {
    const { outcome } = setUp({ issuers: [configured({ jwks_url: `${issuer.url}/jwks` })] });
    expect(await outcome(await issuer.issue("ada"))).toBe("acme:ada");
  });

  test("costs the issuer one request for its keys, however many tokens", async () => {
    const { outcome } = setUp();
    const before = await issuer.keyFetches();
    for (let use = 0; use < 20; use++) expect(await outcome(await issuer.issue(`u${use}`))).toBe(`acme:u${use}`);
    expect(await issuer.keyFetches()).toBe(before + 1);
  });

  test("goes on when the issuer rotates its keys, with old tokens and new", async () => {
    const { outcome, advance } = setUp();
    const old = await issuer.issue("ada");
    expect(await outcome(old)).toBe("acme:ada");
    await issuer.rotateKeys({ keepOld: true });
    advance(COOLDOWN_MS);
    expect(await outcome(await issuer.issue("grace"))).toBe("acme:grace");
    expect(await outcome(old)).toBe("acme:ada");
  });

  test("is refused after a refresh if the issuer withdrew the key of the token", async () => {
    const { outcome, advance } = setUp();
    const old = await issuer.issue("ada");
    expect(await outcome(old)).toBe("acme:ada");
    await issuer.rotateKeys({ keepOld: false });
    advance(COOLDOWN_MS);
    expect(await outcome(await issuer.issue("grace")), "which loads the new keys").toBe("acme:grace");
    expect(await outcome(old)).toBe("key_unknown");
  });

  test("goes on while the issuer is away; a token of a new key waits for its return, and is not called bad", async () => {
    const { outcome, advance } = setUp({ limits: { refreshMs: COOLDOWN_MS } });
    const remembered = await issuer.issue("ada");
    const unseen = await issuer.issue("grace");
    expect(await outcome(remembered)).toBe("acme:ada");
    await issuer.setAway({ isAway: true });
    await issuer.rotateKeys({ keepOld: true });
    const ofNewKey = await issuer.issue("lin");
    advance(COOLDOWN_MS);
    expect(await outcome(remembered)).toBe("acme:ada");
    expect(await outcome(unseen)).toBe("acme:grace");
    expect(await outcome(ofNewKey)).toBe("ISSUER_UNAVAILABLE");
    advance(COOLDOWN_MS - 1);
    expect(await outcome(ofNewKey), "without asking again").toBe("ISSUER_UNAVAILABLE");
    await issuer.setAway({ isAway: false });
    advance(COOLDOWN_MS);
    expect(await outcome(ofNewKey)).toBe("acme:lin");
  });

  test("is not checked with keys from where the issuer's address redirects to", async () => {
    const keys = await redirectTo(`${issuer.url}/jwks`);
    const { outcome } = setUp({ issuers: [configured({ jwks_url: keys })] });
    expect(await outcome(await issuer.issue("ada"))).toBe("ISSUER_UNAVAILABLE");
  });

  test("cannot be decided about while nothing was ever heard of the issuer", async () => {
    const { outcome, advance } = setUp();
    await issuer.setAway({ isAway: true });
    const token = await issuer.issue("ada");
    expect(await outcome(token)).toBe("ISSUER_UNAVAILABLE");
    await issuer.setAway({ isAway: false });
    advance(1_000);
    expect(await outcome(token)).toBe("acme:ada");
  });

  test("of one issuer is not the user of another with the same subject", async () => {
    const both = [configured(), configured({ issuer: other.url, owner_prefix: "globex:" })];
    const { outcome } = setUp({ issuers: both });
    expect(await outcome(await issuer.issue("ada"))).toBe("acme:ada");
    expect(await outcome(await other.issue("ada"))).toBe("globex:ada");
  });

  test("control: with one prefix for two issuers, which start-up refuses, they are one owner", async () => {
    const both = [configured(), { ...configured({ issuer: other.url }), ownerPrefix: "acme:" }];
    const { outcome } = setUp({ issuers: both });
    expect(await outcome(await other.issue("ada"))).toBe(await outcome(await issuer.issue("ada")));
  });
});

describe("a genuine token that is not for this use", () => {
  test.each<[string, Parameters<OidcIssuer["issue"]>[1], string]>([
    ["is for another audience", { audience: "billing" }, "audience"],
    ["has expired", { claims: { exp: Math.floor(Date.now() / 1000) - 60 } }, "expired"],
    ["is not valid yet", { claims: { nbf: Math.floor(Date.now() / 1000) + 60 } }, "not_yet_valid"],
    ["never expires", { claims: { exp: null } }, "malformed"],
    ["has no subject", { claims: { sub: null } }, "subject"],
    ["has an empty subject", { claims: { sub: "" } }, "subject"],
    ["names another issuer", { claims: { iss: "https://login.example.com" } }, "issuer"],
  ])("is refused: it %s", async (_, options, cause) => {
    expect(await setUp().outcome(await issuer.issue("ada", options))).toBe(cause);
  });

  test("control: it is accepted where it is for: that audience, that time", async () => {
    const billing = setUp({ issuers: [configured({ audience: ["claviger", "billing"] })] });
    expect(await billing.outcome(await issuer.issue("ada", { audience: "billing" }))).toBe("acme:ada");
    const later = setUp();
    later.advance(60_000);
    const nbf = Math.floor(Date.now() / 1000) + 60;
    expect(await later.outcome(await issuer.issue("ada", { claims: { nbf } }))).toBe("acme:ada");
  });

  test("is refused from an issuer that is not configured, which is not even asked", async () => {
    const before = await other.keyFetches();
    expect(await setUp().outcome(await other.issue("ada"))).toBe("issuer");
    expect(await other.keyFetches()).toBe(before);
  });

  test("is refused if one configured issuer signs in the name of another", async () => {
    const both = [configured(), configured({ issuer: other.url, owner_prefix: "globex:" })];
    const token = await other.issue("ada", { claims: { iss: issuer.url } });
    expect(await setUp({ issuers: both }).outcome(token)).toBe("key_unknown");
    const { kid } = await currentKey();
    const withKid = await other.issue("ada", { claims: { iss: issuer.url }, header: { kid } });
    expect(await setUp({ issuers: both }).outcome(withKid)).toBe("signature");
  });
});

describe("a forged token", () => {
  test("without a signature (alg: none) is refused", async () => {
    const { outcome } = setUp();
    const genuine = await issuer.issue("ada");
    for (const alg of ["none", "None", "NONE", "nOnE", "", undefined]) {
      expect(await outcome(resign(genuine, { alg })), `alg ${alg}`).toMatch(/^(algorithm|malformed)$/);
    }
    const [head, claims] = genuine.split(".");
    expect(await outcome(`${head}.${claims}.`)).toBe("signature");
  });

  test("control: a reader of unsecured tokens takes it", async () => {
    const forged = forgeToken({ header: { alg: "none" }, claims: decodeJwt(await issuer.issue("ada")) });
    expect(UnsecuredJWT.decode(forged).payload.sub).toBe("ada");
  });

  test("signed with HS256 and the public key is refused, in every form that the key is published in", async () => {
    const { outcome } = setUp();
    const genuine = await issuer.issue("ada");
    for (const [form, key] of publicForms(await currentKey())) {
      expect(await outcome(resign(genuine, { alg: "HS256" }, key)), form).toBe("algorithm");
    }
  });

  test("signed with HS256 and the public key is refused even if HS256 were configured, which start-up refuses", async () => {
    const { outcome } = setUp({ issuers: [{ ...configured(), algorithms: ["RS256", "HS256"] }] });
    const genuine = await issuer.issue("ada");
    for (const [form, key] of publicForms(await currentKey())) {
      expect(await outcome(resign(genuine, { alg: "HS256" }, key)), form).toBe("malformed");
    }
    expect(() => configured({ algorithms: ["RS256", "HS256"] })).toThrow(/HS256/);
  });

  test("control: a check that takes the algorithm from the token and the key as it comes accepts each of them", async () => {
    const genuine = await issuer.issue("ada");
    for (const [form, key] of publicForms(await currentKey())) {
      const forged = resign(genuine, { alg: "HS256" }, key);
      expect((await jwtVerify(forged, key, { issuer: issuer.url })).payload.sub, form).toBe("ada");
    }
  });

  test("signed with an algorithm of the issuer's key that is not configured is refused", async () => {
    const token = await issuer.issue("ada");
    expect(await setUp({ issuers: [configured({ algorithms: ["PS256", "ES256"] })] }).outcome(token)).toBe("algorithm");
  });

  test("that brings its own key along (jwk, jku, x5u, x5c) is refused, and nothing is fetched", async () => {
    const { outcome } = setUp();
    const { url, requests } = await serveKeys();
    const genuine = await issuer.issue("ada");
    const { kid } = await currentKey();
    for (const claimed of [kid, "evil"]) {
      const { privateKey, jwk } = makeAttacker(claimed);
      const headers = [{ jwk }, { jku: url }, { x5u: url }, { x5c: [jwk.n] }, { jwk, jku: url, x5u: url }];
      for (const header of headers) {
        const forged = resign(genuine, { ...header, kid: claimed }, privateKey);
        expect(await outcome(forged)).toBe(claimed === kid ? "signature" : "key_unknown");
      }
    }
    expect(requests()).toBe(0);
  });

  test("control: checks that believe the token about its key accept it", async () => {
    const genuine = await issuer.issue("ada");
    const { privateKey, jwk } = makeAttacker("evil");
    const embedded = resign(genuine, { jwk, kid: "evil" }, privateKey);
    expect((await jwtVerify(embedded, EmbeddedJWK)).payload.sub).toBe("ada");
    const { url, requests } = await serveKeys(jwk);
    const linked = resign(genuine, { jku: url, kid: "evil" }, privateKey);
    const believed = createRemoteJWKSet(new URL(String(decodeProtectedHeader(linked).jku)));
    expect((await jwtVerify(linked, believed)).payload.sub).toBe("ada");
    expect(requests()).toBe(1);
  });

  test.each([
    "../../../../dev/null",
    "/proc/sys/kernel/randomize_va_space",
    "x' UNION SELECT 'key' --",
    "| id",
    "http://127.0.0.1:1/keys",
    "__proto__",
    "constructor",
    "\u0000",
    "",
    7,
    null,
    ["kid"],
    { toString: "kid" },
  ])("whose kid is %j finds no key", async (kid) => {
    const { outcome } = setUp();
    const genuine = await issuer.issue("ada");
    const { privateKey } = makeAttacker(undefined);
    expect(await outcome(resign(genuine, { kid }, privateKey))).toBe("key_unknown");
    expect(await outcome(resign(genuine, { kid, alg: "HS256" }, Buffer.alloc(0)))).toBe("algorithm");
  });

  test("with changed claims is refused", async () => {
    const genuine = await issuer.issue("ada");
    const [head, , signature] = genuine.split(".");
    for (const change of [{ sub: "root" }, { exp: 4_000_000_000 }, { roles: ["claviger-admin"] }]) {
      const claims = Buffer.from(JSON.stringify({ ...decodeJwt(genuine), ...change })).toString("base64url");
      expect(await setUp().outcome(`${head}.${claims}.${signature}`)).toBe("signature");
    }
  });

  test("with a claim twice is read once: what is checked is what is used", async () => {
    const genuine = await issuer.issue("ada");
    const [head, claims = "", signature] = genuine.split(".");
    const twice = Buffer.from(claims, "base64url")
      .toString()
      .replace(/^\{/, '{"sub":"root","iss":"https://evil.test",');
    expect(await setUp().outcome(`${head}.${Buffer.from(twice).toString("base64url")}.${signature}`)).toBe("signature");
  });
});

describe("a flood of 1,000 tokens with unknown keys", () => {
  test("is at most one request to the issuer in a cooldown, and no user is in its way", async () => {
    const { outcome, advance } = setUp();
    const genuine = await issuer.issue("ada");
    expect(await outcome(genuine)).toBe("acme:ada");
    const flood = await floodOf(1_000);
    const before = await issuer.keyFetches();
    advance(COOLDOWN_MS);
    expect(new Set(await Promise.all(flood.map(outcome)))).toEqual(new Set(["key_unknown"]));
    for (const token of flood) expect(await outcome(token)).toBe("key_unknown");
    expect(await issuer.keyFetches()).toBe(before + 1);
    expect(await outcome(await issuer.issue("grace"))).toBe("acme:grace");
  });

  test("control: without the cooldown it is a request each", async () => {
    const { outcome, advance } = setUp({ limits: { cooldownMs: 0 } });
    await outcome(await issuer.issue("ada"));
    advance(1);
    const before = await issuer.keyFetches();
    for (const token of await floodOf(50)) expect(await outcome(token)).toBe("key_unknown");
    expect(await issuer.keyFetches()).toBe(before + 50);
  });
});

async function floodOf(count: number): Promise<string[]> {
  const genuine = await issuer.issue("ada");
  const { privateKey } = makeAttacker(undefined);
  return Array.from({ length: count }, (_, index) => resign(genuine, { kid: `made-up-${index}` }, privateKey));
}

/** The public key as bytes, in the forms that anybody can have it in. */
function publicForms(jwk: JWK): [string, Buffer][] {
  const key = createPublicKey({ key: jwk, format: "jwk" });
  return [
    ["PEM (SPKI)", Buffer.from(key.export({ type: "spki", format: "pem" }))],
    ["PEM without its last newline", Buffer.from(String(key.export({ type: "spki", format: "pem" })).trimEnd())],
    ["PEM (PKCS #1)", Buffer.from(key.export({ type: "pkcs1", format: "pem" }))],
    ["DER", key.export({ type: "spki", format: "der" })],
    ["JWK", Buffer.from(JSON.stringify(jwk))],
    ["JWK: its modulus", Buffer.from(String(jwk.n))],
  ];
}

/** The attacker's own server, with that key. */
async function serveKeys(...keys: JWK[]) {
  let requests = 0;
  const url = await serve((_request, response) => {
    requests++;
    response.end(JSON.stringify({ keys }));
  });
  return { url, requests: () => requests };
}

function redirectTo(location: string): Promise<string> {
  return serve((_request, response) => response.writeHead(302, { location }).end());
}

async function serve(answer: RequestListener): Promise<string> {
  const server = createServer(answer).listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => void server.close());
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("the server has no port");
  return `http://127.0.0.1:${address.port}/keys`;
}
