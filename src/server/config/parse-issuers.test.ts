import { expect, test } from "vitest";
import { ConfigError } from "../startup-error.ts";
import { parseIssuers } from "./parse-issuers.ts";

const ISSUER = "https://login.example.com";
const RIGHT = { issuer: ISSUER, audience: "claviger", algorithms: ["RS256"] };

function parse(...issuers: readonly object[]) {
  return parseIssuers(JSON.stringify(issuers));
}

function problemOf(text: string): string {
  try {
    parseIssuers(text);
  } catch (error) {
    if (error instanceof ConfigError) return error.message;
    throw error;
  }
  throw new Error(`accepted: ${text}`);
}

function problemWith(fields: object): string {
  return problemOf(JSON.stringify({ ...RIGHT, ...fields }));
}

test.each([undefined, "[]"])("%s is no issuer", (text) => {
  expect(parseIssuers(text)).toEqual([]);
});

test("an issuer may be given alone, and what is left out has its default", () => {
  expect(parseIssuers(JSON.stringify(RIGHT))).toEqual([
    {
      issuer: ISSUER,
      audiences: ["claviger"],
      keys: { kind: "discovery", url: new URL(`${ISSUER}/.well-known/openid-configuration`) },
      algorithms: ["RS256"],
      ownerPrefix: "",
      adminClaim: undefined,
      clockToleranceSeconds: 5,
    },
  ]);
});

test("everything may be given", () => {
  const [first, second] = parse(
    {
      issuer: ISSUER,
      audience: ["a", "b"],
      jwks_url: "https://cdn.example.com/keys?v=1",
      algorithms: ["RS256", "PS512", "ES384", "EdDSA", "Ed25519"],
      owner_prefix: "acme:",
      admin_claim: { name: "realm_access.roles", value: "claviger-admin" },
      clock_tolerance_seconds: 0,
    },
    { ...RIGHT, issuer: "internal", jwks_file: "keys.json", owner_prefix: "staff:", clock_tolerance_seconds: 60 },
  );
  expect(first).toEqual({
    issuer: ISSUER,
    audiences: ["a", "b"],
    keys: { kind: "url", url: new URL("https://cdn.example.com/keys?v=1") },
    algorithms: ["RS256", "PS512", "ES384", "EdDSA", "Ed25519"],
    ownerPrefix: "acme:",
    adminClaim: { name: "realm_access.roles", value: "claviger-admin" },
    clockToleranceSeconds: 0,
  });
  expect(second).toMatchObject({ issuer: "internal", keys: { kind: "file", path: "keys.json" } });
});

test.each([
  ["https://a.example/realms/one", "https://a.example/realms/one/.well-known/openid-configuration"],
  ["https://a.example/realms/one/", "https://a.example/realms/one/.well-known/openid-configuration"],
  ["http://127.0.0.1:8080", "http://127.0.0.1:8080/.well-known/openid-configuration"],
  ["http://localhost:8080", "http://localhost:8080/.well-known/openid-configuration"],
  ["http://[::1]:8080", "http://[::1]:8080/.well-known/openid-configuration"],
])("the keys of %s are discovered at %s", (issuer, url) => {
  expect(parse({ ...RIGHT, issuer })[0]).toMatchObject({ issuer, keys: { kind: "discovery", url: new URL(url) } });
});

test.each(["{", "", "https://login.example.com", "'[]'"])("%j is refused with an example", (text) => {
  expect(problemOf(text)).toMatch(/^CLAVIGER_JWT_ISSUERS is not JSON\. Give a list such as \[\{"issuer": "https:/);
});

test.each(["null", "7", '"https://login.example.com"', "[[]]", "[null]"])("%s is refused with an example", (text) => {
  expect(problemOf(text)).toMatch(/is not a list of objects\. Give one such as \[\{"issuer": "https:/);
});

test("the examples of the messages are right", () => {
  const [, example = ""] = /such as (\[.*\])$/.exec(problemOf("{")) ?? [];
  expect(parseIssuers(example)).toHaveLength(1);
});

test.each<[object, RegExp]>([
  [{ issuer: undefined }, /has no issuer for number 1\. Give the `iss` of its tokens$/],
  [{ issuer: "" }, /has no issuer for number 1/],
  [{ audience: undefined }, /has no audience for https:\/\/login\.example\.com\. Give the `aud`/],
  [{ audience: [] }, /has \[\] as audience/],
  [{ audience: ["a", 7] }, /has \["a",7\] as audience/],
  [
    { algorithms: undefined },
    /has no algorithms for .*\. Give a list of those that it signs with, out of RS256, .*Ed25519$/,
  ],
  [{ algorithms: "RS256" }, /has "RS256" as algorithms/],
  [{ algorithms: [] }, /has \[\] as algorithms/],
  [{ algorithms: ["RS256", "none"] }, /has \["none"\] as algorithms/],
  [{ algorithms: ["HS256", "RS256", "HS512"] }, /has \["HS256","HS512"\] as algorithms/],
  [{ algorithms: ["rs256"] }, /has \["rs256"\] as algorithms/],
  [{ jwks_url: "https://a.example/k", jwks_file: "k" }, /has jwks_url and jwks_file for .*\. Give one of them/],
  [{ jwks_file: "" }, /has "" as jwks_file/],
  [{ jwks_url: "http://login.example.com/keys" }, /no usable URL as jwks_url for .*\. Give an https:\/\/ URL/],
  [{ jwks_url: "http://127.evil.example/keys" }, /no usable URL as jwks_url/],
  [{ jwks_url: "http://localhost.evil.example/keys" }, /no usable URL as jwks_url/],
  [{ jwks_url: "file:///etc/keys.json" }, /no usable URL as jwks_url/],
  [{ jwks_url: null }, /no usable URL as jwks_url/],
  [{ issuer: "http://login.example.com" }, /no usable URL as issuer .*, or a jwks_url or jwks_file$/],
  [{ issuer: "internal" }, /no usable URL as issuer/],
  [{ issuer: "https://login.example.com/?tenant=1" }, /has a query for .*\. Give a jwks_url/],
  [{ owner_prefix: 7 }, /has 7 as owner_prefix/],
  [{ owner_prefix: "claviger:" }, /has "claviger:" as owner_prefix for .*, which is reserved$/],
  [{ owner_prefix: "Claviger:" }, /has "Claviger:" as owner_prefix for .*, which is reserved$/],
  [{ owner_prefix: " a:" }, /has " a:" as owner_prefix for .*, which is reserved$/],
  [{ owner_prefix: "claviger:acme:" }, /has "claviger:acme:" as owner_prefix/],
  [{ owner_prefix: "a\n" }, /as owner_prefix/],
  [{ owner_prefix: "a".repeat(255) }, /as owner_prefix/],
  [{ admin_claim: "roles" }, /has "roles" as admin_claim for .*\. Give an object such as \{"name": "roles"/],
  [{ admin_claim: { name: "roles" } }, /has \{"name":"roles"\} as admin_claim/],
  [
    { admin_claim: { name: "roles", value: "a", equals: "b" } },
    /has equals for .* \(admin_claim\)\. It takes name, value$/,
  ],
  [{ clock_tolerance_seconds: 61 }, /has 61 as clock_tolerance_seconds for .*\. Give whole seconds from 0 to 60/],
  [{ clock_tolerance_seconds: -1 }, /has -1 as clock_tolerance_seconds/],
  [{ clock_tolerance_seconds: "5" }, /has "5" as clock_tolerance_seconds/],
  [{ jwks_uri: "https://a.example", alg: "RS256" }, /has jwks_uri, alg for .*\. It takes issuer, audience, jwks_url/],
])("%j is refused with what is right", (fields, message) => {
  expect(problemWith(fields)).toMatch(message);
});

test("a password in a URL is refused, and not shown", () => {
  const message = problemWith({ jwks_url: "https://user:hunter2@login.example.com/keys" });
  expect(message).toContain("no usable URL as jwks_url");
  expect(message).not.toContain("hunter2");
});

test.each([
  ["acme:", "acme:"],
  ["", "acme:"],
  ["acme:", ""],
  ["acme:", "acme:staff:"],
])("the prefixes %j and %j are refused together: users of both could be one owner", (a, b) => {
  const issuers = [
    { ...RIGHT, owner_prefix: a },
    { ...RIGHT, issuer: "https://b.example", owner_prefix: "b:" },
    { ...RIGHT, issuer: "https://c.example", owner_prefix: b },
  ];
  const message = problemOf(JSON.stringify(a === "" || b === "" ? [issuers[0], issuers[2]] : issuers));
  expect(message).toMatch(
    /has owner_prefix .* for https:\/\/login\.example\.com and .* for https:\/\/c\.example: .*Give/,
  );
});

test("an issuer that is there twice is refused", () => {
  const twice = [
    { ...RIGHT, owner_prefix: "a:" },
    { ...RIGHT, owner_prefix: "b:" },
  ];
  expect(problemOf(JSON.stringify(twice))).toMatch(/has https:\/\/login\.example\.com twice\. Leave one out$/);
});
