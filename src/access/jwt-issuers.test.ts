import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test, vi } from "vitest";
import {
  createFakeIssuer,
  type FakeIssuer,
  makeFakeKey,
  START_SECONDS,
  tokenOf,
} from "../../testkit/fakes/fake-issuer.ts";
import { forgeToken } from "../../testkit/forge-token.ts";
import { ClavigerError } from "../keys/errors.ts";
import type { IssuerConfig } from "./issuer-config.ts";
import { createUserAuthenticator, MAX_TOKEN_BYTES, type UserAuthenticatorLimits } from "./jwt-issuers.ts";

const ORIGIN = { address: "192.0.2.1", requestId: "r1" };
const MINUTE_MS = 60_000;

interface Setup {
  readonly config?: Partial<IssuerConfig>;
  readonly limits?: Partial<UserAuthenticatorLimits>;
  readonly issuer?: FakeIssuer;
}

function setUp({ config, limits, issuer = createFakeIssuer() }: Setup = {}) {
  let now = START_SECONDS * 1000;
  const warnings: string[] = [];
  const users = createUserAuthenticator({
    issuers: [{ ...issuer.config, ...config }],
    grantableScopes: ["orders:*"],
    clock: { now: () => now },
    fetch: issuer.fetch,
    onWarning: (problem, name) => warnings.push(`${name}: ${problem}`),
    ...(limits === undefined ? {} : { limits }),
  });
  const caller = (token: string) => users.authenticate(token, ORIGIN);
  return {
    issuer,
    users,
    warnings,
    caller,
    /** The owner that the token is accepted for, or why it is not. */
    outcome: async (token: string) => {
      try {
        return (await caller(token)).owner;
      } catch (error) {
        if (!(error instanceof ClavigerError)) throw error;
        const told = JSON.stringify([error.message, error.metadata]);
        for (const part of token.split(".")) if (part.length > 8) expect(told).not.toContain(part);
        return error.reason === "CREDENTIAL_INVALID" ? `${error.metadata.cause}` : error.reason;
      }
    },
    advance: (ms: number) => {
      now += ms;
    },
  };
}

/** How many signatures are checked from now on. */
function countChecks() {
  const verify = vi.spyOn(crypto.subtle, "verify");
  onTestFinished(() => verify.mockRestore());
  return () => verify.mock.calls.length;
}

test("a user is the issuer's prefix and the token's subject, and may grant what users may", async () => {
  const { caller, issuer } = setUp({ config: { ownerPrefix: "acme:" } });
  expect(await caller(issuer.token())).toEqual({
    kind: "user",
    owner: "acme:ada",
    isAdmin: false,
    grantableScopes: ["orders:*"],
    ...ORIGIN,
  });
});

test.each<[string, Record<string, unknown>, boolean]>([
  ["roles", { roles: "claviger-admin" }, true],
  ["roles", { roles: ["reader", "claviger-admin"] }, true],
  ["roles", {}, false],
  ["roles", { roles: "claviger-administrator" }, false],
  ["roles", { roles: ["claviger-admin "] }, false],
  ["roles", { roles: { "claviger-admin": true } }, false],
  ["roles", { roles: [["claviger-admin"]] }, false],
  ["realm_access.roles", { realm_access: { roles: ["claviger-admin"] } }, true],
  ["realm_access.roles", { realm_access: ["claviger-admin"], roles: ["claviger-admin"] }, false],
  ["https://acme.test/roles", { "https://acme.test/roles": ["claviger-admin"] }, true],
  ["constructor.name", {}, false],
])("the claim %s in %j makes an administrator: %s", async (name, claims, isAdmin) => {
  const value = name === "constructor.name" ? "Object" : "claviger-admin";
  const { caller, issuer } = setUp({ config: { adminClaim: { name, value } } });
  expect((await caller(issuer.token(claims))).isAdmin).toBe(isAdmin);
});

test("without a configured claim nobody is an administrator", async () => {
  const { caller, issuer } = setUp({ config: { adminClaim: undefined } });
  expect((await caller(issuer.token({ roles: "claviger-admin", undefined: "claviger-admin" }))).isAdmin).toBe(false);
});

test.each<[string, Record<string, unknown>, string]>([
  ["is for another audience", { aud: "billing" }, "audience"],
  ["is for no audience", { aud: undefined }, "audience"],
  ["is of another issuer", { iss: "https://evil.test" }, "issuer"],
  ["has an issuer that only looks the same", { iss: "https://login.test/" }, "issuer"],
  ["has a list of issuers", { iss: ["https://login.test"] }, "issuer"],
  ["has no issuer", { iss: undefined }, "issuer"],
  ["has expired", { exp: START_SECONDS - 5 }, "expired"],
  ["expired within the clock tolerance", { exp: START_SECONDS - 4 }, "ada"],
  ["never expires", { exp: undefined }, "malformed"],
  ["has an exp that is no number", { exp: `${START_SECONDS + 60}` }, "malformed"],
  ["is not valid yet", { nbf: START_SECONDS + 6 }, "not_yet_valid"],
  ["becomes valid within the clock tolerance", { nbf: START_SECONDS + 5 }, "ada"],
  ["was issued in the future", { iat: START_SECONDS + 6 }, "not_yet_valid"],
  ["was issued in the future within the clock tolerance", { iat: START_SECONDS + 5 }, "ada"],
  ["has no subject", { sub: undefined }, "subject"],
  ["has an empty subject", { sub: "" }, "subject"],
  ["has a subject that is no string", { sub: 7 }, "subject"],
  ["has a subject with a control character", { sub: "ada\n" }, "subject"],
  ["has a subject with a C1 control character", { sub: "ada\u0085" }, "subject"],
  ["has a subject that is half a character", { sub: "ada\ud800" }, "subject"],
  ["has a reserved subject", { sub: "claviger:admin" }, "subject"],
  ["has a subject that looks like a reserved one", { sub: "Claviger\uff1aadmin" }, "subject"],
  ["has a subject with white space at its end", { sub: "ada " }, "subject"],
  ["has a subject with an invisible character", { sub: "a\u200bda" }, "subject"],
  ["has a secret for a subject", { sub: `clv_live_${"a1B2".repeat(12)}x` }, "subject"],
  ["has a subject of 256 bytes", { sub: "é".repeat(128) }, "subject"],
  ["has a subject of 255 bytes", { sub: `${"é".repeat(127)}e` }, `${"é".repeat(127)}e`],
])("a token that %s: %s is %s", async (_, claims, expected) => {
  const { issuer, outcome } = setUp();
  expect(await outcome(issuer.token(claims))).toBe(expected);
});

test("a subject does not complete a prefix to a reserved owner", async () => {
  const { issuer, outcome } = setUp({ config: { ownerPrefix: "clav" } });
  expect(await outcome(issuer.token({ sub: "iger:admin" }))).toBe("subject");
});

test.each<[string, (issuer: FakeIssuer) => string]>([
  ["is no JWT", () => "a.b.c"],
  ["has two parts", (issuer) => issuer.token().split(".").slice(0, 2).join(".")],
  ["has five parts", (issuer) => `${issuer.token()}.a.b`],
  ["comes twice", (issuer) => `${issuer.token()}.${issuer.token()}`],
  ["comes twice with a comma", (issuer) => `${issuer.token()},${issuer.token()}`],
  ["has claims that are a list", () => forgeToken({ header: { alg: "ES256" }, claims: ["iss"] })],
  ["has a critical extension", (issuer) => issuer.token({}, { crit: ["exp"], exp: START_SECONDS + 60 })],
  ["has an unencoded payload", (issuer) => issuer.token({}, { crit: ["b64"], b64: false })],
  ["has an empty list of critical extensions", (issuer) => issuer.token({}, { crit: [] })],
])("a token that %s is malformed", async (_, make) => {
  const { issuer, outcome } = setUp();
  expect(await outcome(make(issuer))).toBe("malformed");
});

test("a token above 16 KiB is refused unread, one below is not", async () => {
  const { issuer, outcome } = setUp();
  const fits = issuer.token({ padding: "x".repeat(11_800) });
  expect(fits.length).toBeGreaterThan(15_900);
  expect(await outcome(fits)).toBe("ada");
  const tooLong = issuer.token({ padding: "x".repeat(12_300) });
  expect(tooLong.length).toBeGreaterThan(MAX_TOKEN_BYTES);
  expect(await outcome(tooLong)).toBe("too_large");
});

test("a verified token is not verified again until it expires, and never used after", async () => {
  const { issuer, outcome, advance } = setUp();
  const checks = countChecks();
  const token = issuer.token({ exp: START_SECONDS + 60 });
  for (let use = 0; use < 5; use++) expect(await outcome(token)).toBe("ada");
  advance(59_999);
  expect(await outcome(token)).toBe("ada");
  expect(checks()).toBe(1);
  advance(1);
  expect(await outcome(token)).toBe("ada");
  expect(await outcome(token)).toBe("ada");
  expect(checks(), "within the clock tolerance each use is verified").toBe(3);
  advance(5_000);
  expect(await outcome(token)).toBe("expired");
});

test("another token with the claims of a remembered one is verified by itself", async () => {
  const { issuer, outcome } = setUp();
  const token = issuer.token();
  expect(await outcome(token)).toBe("ada");
  const [head, claims, signature = ""] = token.split(".");
  const last = Buffer.from(signature, "base64url");
  last[10] = (last[10] ?? 0) ^ 1;
  expect(await outcome(`${head}.${claims}.${last.toString("base64url")}`)).toBe("signature");
});

test("at most cachedTokens are remembered; the one used longest ago goes first", async () => {
  const { issuer, outcome } = setUp({ limits: { cachedTokens: 2 } });
  const checks = countChecks();
  const [a, b, c] = ["a", "b", "c"].map((sub) => issuer.token({ sub })) as [string, string, string];
  for (const token of [a, b, a, c, a]) await outcome(token);
  expect(checks()).toBe(3);
  await outcome(b);
  expect(checks()).toBe(4);
});

test("a key that the issuer withdraws is refused after the next refresh, remembered tokens included", async () => {
  const { issuer, outcome, advance } = setUp();
  const token = issuer.token({ exp: START_SECONDS + 86_400 });
  expect(await outcome(token)).toBe("ada");
  issuer.keys = [makeFakeKey("second")];
  advance(10 * MINUTE_MS - 1);
  expect(await outcome(token)).toBe("ada");
  expect(issuer.requests, "not before its time").toHaveLength(1);
  advance(1);
  await outcome(token);
  await vi.waitFor(async () => expect(await outcome(token)).toBe("key_unknown"));
});

test("keys that a refresh finds unchanged do not make remembered tokens be verified again", async () => {
  const { issuer, outcome, advance } = setUp();
  const token = issuer.token();
  await outcome(token);
  const checks = countChecks();
  advance(11 * MINUTE_MS);
  await outcome(token);
  await vi.waitFor(() => expect(issuer.requests).toHaveLength(2));
  await new Promise(setImmediate);
  await outcome(token);
  expect(checks()).toBe(0);
});

test("nobody waits for a refresh", async () => {
  const { issuer, outcome, advance } = setUp();
  await outcome(issuer.token());
  issuer.answer = () => new Promise(() => undefined);
  advance(11 * MINUTE_MS);
  expect(await outcome(issuer.token({ sub: "grace" }))).toBe("grace");
  expect(issuer.requests).toHaveLength(2);
});

test("users whose key is known go on for as long as the issuer is away, and its return is noticed", async () => {
  const { issuer, outcome, advance, warnings } = setUp();
  const week = { exp: START_SECONDS + 8 * 86_400 };
  expect(await outcome(issuer.token(week))).toBe("ada");
  issuer.answer = () => Promise.reject(new TypeError("fetch failed", { cause: new Error("ECONNREFUSED") }));
  advance(7 * 86_400_000);
  for (let use = 0; use < 100; use++) expect(await outcome(issuer.token({ ...week, sub: `u${use}` }))).toBe(`u${use}`);
  await vi.waitFor(() => expect(warnings).toHaveLength(1));
  expect(warnings[0]).toBe("https://login.test: its keys could not be loaded: fetch failed (ECONNREFUSED)");
  issuer.answer = () => issuer.keysAnswer();
  issuer.keys = [makeFakeKey("second"), ...issuer.keys];
  advance(30_000);
  expect(await outcome(issuer.token(week))).toBe("ada");
});

test("a key made after the last load is found by one load", async () => {
  const { issuer, outcome, advance } = setUp();
  const old = issuer.token();
  await outcome(old);
  advance(30_000);
  issuer.keys = [makeFakeKey("second"), ...issuer.keys];
  expect(await outcome(issuer.token())).toBe("ada");
  expect(await outcome(old)).toBe("ada");
  expect(issuer.requests).toHaveLength(2);
});

function flood(count: number): string[] {
  const stranger = makeFakeKey("stranger");
  return Array.from({ length: count }, (_, index) => tokenOf({ ...stranger, kid: `made-up-${index}` }));
}

test("a flood of unknown keys makes at most one load in a cooldown, whatever comes of it", async () => {
  const { issuer, outcome, advance } = setUp();
  await outcome(issuer.token());
  const tokens = flood(1_000);
  advance(30_000);
  for (const token of tokens.slice(0, 500)) expect(await outcome(token)).toBe("key_unknown");
  expect(new Set(await Promise.all(tokens.slice(500).map(outcome)))).toEqual(new Set(["key_unknown"]));
  expect(issuer.requests).toHaveLength(2);
  issuer.answer = () => Promise.reject(new Error("away"));
  advance(30_000);
  for (const token of tokens) expect(await outcome(token)).toBe("ISSUER_UNAVAILABLE");
  expect(issuer.requests).toHaveLength(3);
  advance(29_999);
  await outcome(tokens[0] ?? "");
  expect(issuer.requests).toHaveLength(3);
  expect(await outcome(issuer.token()), "users are not in its way").toBe("ada");
});

test("control: without the cooldown each unknown key is a load", async () => {
  const { issuer, outcome, advance } = setUp({ limits: { cooldownMs: 0 } });
  await outcome(issuer.token());
  advance(1);
  for (const token of flood(100)) await outcome(token);
  expect(issuer.requests.length).toBeGreaterThan(100);
});

test("unknown keys that come at once wait for one load", async () => {
  const { issuer, outcome, advance } = setUp({ limits: { cooldownMs: 0 } });
  await outcome(issuer.token());
  advance(1);
  const answers = Promise.withResolvers<Response>();
  issuer.answer = () => answers.promise;
  const outcomes = flood(100).map(outcome);
  await vi.waitFor(() => expect(issuer.requests).toHaveLength(2));
  issuer.keys = [];
  answers.resolve(issuer.keysAnswer());
  expect(new Set(await Promise.all(outcomes))).toEqual(new Set(["key_unknown"]));
  expect(issuer.requests).toHaveLength(2);
});

test("a clock that is set back does not stop the loads", async () => {
  const { issuer, outcome, advance } = setUp();
  await outcome(issuer.token());
  issuer.keys = [makeFakeKey("second")];
  advance(-86_400_000);
  expect(await outcome(issuer.token({ iat: START_SECONDS - 90_000 }))).toBe("ada");
});

test("an issuer that is away from the start makes nobody's token bad, and is asked again each retryMs", async () => {
  const { issuer, outcome, advance } = setUp();
  issuer.answer = () => Promise.reject(new Error("away"));
  for (let use = 0; use < 100; use++) expect(await outcome(issuer.token())).toBe("ISSUER_UNAVAILABLE");
  expect(issuer.requests).toHaveLength(1);
  issuer.answer = () => issuer.keysAnswer();
  expect(await outcome(issuer.token())).toBe("ISSUER_UNAVAILABLE");
  advance(1_000);
  expect(await outcome(issuer.token())).toBe("ada");
});

test("ISSUER_UNAVAILABLE names the issuer and says what to do", async () => {
  const { issuer, caller } = setUp();
  issuer.answer = () => Promise.reject(new Error("away"));
  await expect(caller(issuer.token())).rejects.toMatchObject({
    reason: "ISSUER_UNAVAILABLE",
    message:
      "the token cannot be checked: the keys of its issuer, https://login.test, cannot be had. Try again in a moment",
    metadata: { issuer: "https://login.test" },
  });
});

test("a refusal says why and what to do", async () => {
  const { issuer, caller } = setUp();
  await expect(caller(issuer.token({ exp: START_SECONDS - 60 }))).rejects.toMatchObject({
    reason: "CREDENTIAL_INVALID",
    message: "the token is not accepted: it has expired. Get a new one from the issuer",
    metadata: { cause: "expired" },
  });
});

test.each<[string, () => Response | Promise<Response>, RegExp]>([
  ["is an error", () => new Response("no", { status: 503 }), /answered 503 instead of 200$/],
  [
    "is a redirect",
    () => new Response(null, { status: 302, headers: { location: "http://192.0.2.1/" } }),
    /answered 302/,
  ],
  ["is not JSON", () => new Response("<html>"), /is not valid JSON/],
  ["is not a JWK Set", () => Response.json({ keys: "none" }), /JSON Web Key Set malformed/],
  ["is above 1 MiB", () => Response.json({ keys: [], padding: "x".repeat(1024 * 1024) }), /more than 1048576 bytes/],
])("an answer that %s leaves the keys that there are", async (_, answer, problem) => {
  const { issuer, outcome, advance, warnings } = setUp();
  await outcome(issuer.token());
  issuer.answer = async () => answer();
  advance(30_000);
  const [unknown = ""] = flood(1);
  expect(await outcome(unknown)).toBe("ISSUER_UNAVAILABLE");
  expect(await outcome(issuer.token({ sub: "grace" }))).toBe("grace");
  expect(warnings).toEqual([expect.stringMatching(problem)]);
});

test.each(["headers", "body"])("an issuer that does not send its %s is given up after fetchTimeoutMs", async (part) => {
  const { issuer, outcome, warnings } = setUp({ limits: { fetchTimeoutMs: 30 } });
  issuer.answer = async (_url, { signal }) => {
    const aborted = new Promise<never>((_, reject) => {
      signal?.addEventListener("abort", () => reject(signal.reason));
    });
    if (part === "headers") return aborted;
    return new Response(new ReadableStream({ pull: () => aborted }));
  };
  expect(await outcome(issuer.token())).toBe("ISSUER_UNAVAILABLE");
  expect(warnings).toEqual([expect.stringContaining("timeout")]);
});

test("closing ends a load without a warning", async () => {
  const { issuer, outcome, users, warnings } = setUp();
  issuer.answer = (_url, { signal }) =>
    new Promise((_, reject) => {
      signal?.addEventListener("abort", () => reject(signal.reason));
    });
  const result = outcome(issuer.token());
  users.close();
  expect(await result).toBe("ISSUER_UNAVAILABLE");
  expect(warnings).toEqual([]);
});

test("keys that cannot be used make nobody's token bad", async () => {
  const { issuer, outcome } = setUp();
  issuer.keys = issuer.keys.map((key) => ({ ...key, jwk: { ...key.jwk, x: "AA" } }));
  expect(await outcome(issuer.token())).toBe("ISSUER_UNAVAILABLE");
});

test("a token that does not say which of several keys it is signed with is refused", async () => {
  const { issuer, outcome } = setUp();
  const token = issuer.token({}, { kid: undefined });
  expect(await outcome(token), "with one key there is nothing to say").toBe("ada");
  const several = setUp();
  several.issuer.keys.push(makeFakeKey("second"));
  expect(await several.outcome(several.issuer.token({}, { kid: undefined }))).toBe("key_unknown");
});

const DISCOVERY_URL = new URL("https://login.test/.well-known/openid-configuration");

function discovering(document: Record<string, unknown>) {
  const issuer = createFakeIssuer();
  issuer.answer = async (url) => (url === DISCOVERY_URL.href ? Response.json(document) : issuer.keysAnswer());
  return setUp({ issuer, config: { keys: { kind: "discovery", url: DISCOVERY_URL } } });
}

test("keys are discovered where the issuer's document says", async () => {
  const { issuer, outcome } = discovering({ issuer: "https://login.test", jwks_uri: "https://cdn.test/jwks" });
  expect(await outcome(issuer.token())).toBe("ada");
  expect(issuer.requests).toEqual([DISCOVERY_URL.href, "https://cdn.test/jwks"]);
});

test.each([
  ["of another issuer", { issuer: "https://login.test/", jwks_uri: "https://login.test/keys" }, /another issuer$/],
  ["without jwks_uri", { issuer: "https://login.test" }, /jwks_uri that is not an https/],
  ["with keys in clear", { issuer: "https://login.test", jwks_uri: "http://login.test/keys" }, /jwks_uri that is not/],
  ["with keys in a file", { issuer: "https://login.test", jwks_uri: "file:///etc/passwd" }, /jwks_uri that is not/],
])("a document %s is not believed", async (_, document, problem) => {
  const { issuer, outcome, warnings } = discovering(document);
  expect(await outcome(issuer.token())).toBe("ISSUER_UNAVAILABLE");
  expect(issuer.requests).toEqual([DISCOVERY_URL.href]);
  expect(warnings).toEqual([expect.stringMatching(problem)]);
});

test("a file with keys is read again as a URL is", async () => {
  const folder = await mkdtemp(join(tmpdir(), "claviger-keys-"));
  onTestFinished(() => rm(folder, { recursive: true }));
  const path = join(folder, "keys.json");
  const { issuer, outcome, advance, warnings } = setUp({ config: { keys: { kind: "file", path } } });
  const write = () => writeFile(path, JSON.stringify({ keys: issuer.keys.map(({ jwk }) => jwk) }));
  expect(await outcome(issuer.token())).toBe("ISSUER_UNAVAILABLE");
  expect(warnings).toEqual([expect.stringContaining("ENOENT")]);
  await write();
  advance(1_000);
  expect(await outcome(issuer.token())).toBe("ada");
  issuer.keys = [makeFakeKey("second")];
  await write();
  advance(30_000);
  expect(await outcome(issuer.token())).toBe("ada");
  await writeFile(path, JSON.stringify({ keys: [], padding: "x".repeat(1024 * 1024) }));
  advance(30_000);
  expect(await outcome(flood(1)[0] ?? "")).toBe("ISSUER_UNAVAILABLE");
  expect(await outcome(issuer.token())).toBe("ada");
  expect(issuer.requests).toEqual([]);
});
