import { expect, it } from "vitest";
import { ConfigError } from "../startup-error.ts";
import { parsePolicy } from "./parse-policy.ts";
import { DEFAULT_POLICY, POLICY, type PolicyEntry } from "./policy.ts";

const ROOMS: readonly (readonly [string, Readonly<Record<string, PolicyEntry>>])[] = Object.entries(POLICY);

it("without a text the policy is the default", () => {
  expect(parsePolicy(undefined)).toEqual(DEFAULT_POLICY);
  expect(parsePolicy("{}")).toEqual(DEFAULT_POLICY);
  expect(parsePolicy('{"verify": {}}')).toEqual(DEFAULT_POLICY);
});

it("a value of the text replaces the default's, and no other", () => {
  const text = '{"manage": {"keysPerOwner": 20, "brand": "acme"}, "redis": {"timeoutMs": 70}}';
  expect(parsePolicy(text)).toEqual({
    ...DEFAULT_POLICY,
    manage: { ...DEFAULT_POLICY.manage, keysPerOwner: 20, brand: "acme" },
    redis: { timeoutMs: 70 },
  });
});

it.each(["", "20", "null", '"x"', "[]", "{", "{manage: 1}"])("%j is not a JSON object", (text) => {
  expect(() => parsePolicy(text)).toThrow(ConfigError);
  expect(() => parsePolicy(text)).toThrow(/CLAVIGER_POLICY is not a JSON object\. Give one such as \{/);
});

it.each([1, null, [], "x"])("a room is an object, and %j is none", (room) => {
  const message = `CLAVIGER_POLICY has ${JSON.stringify(room)} for redis. Give an object, such as {"redis":{"timeoutMs":50}}`;
  expect(() => parsePolicy(JSON.stringify({ redis: room }))).toThrow(message);
});

it.each(["keysPerUser", "__proto__", "constructor", "toString", ""])("an unknown name, %j, is refused", (name) => {
  const text = `{${JSON.stringify(name)}: 1}`;
  expect(() => parsePolicy(text)).toThrow(`CLAVIGER_POLICY has no room ${name}. It takes manage, access, `);
  expect(() => parsePolicy(`{"redis": ${text}}`)).toThrow(
    `CLAVIGER_POLICY has no redis.${name}. redis takes timeoutMs`,
  );
});

it("a name that has moved is refused with the place that it has now", () => {
  for (const [name, place] of [
    ["startPatienceMs", "postgres.startPatienceMs"],
    ["keysPerOwner", "manage.keysPerOwner"],
    ["mostReads", "verify.maxReads"],
    ["flushUsageMs", "usage.flushMs"],
  ]) {
    expect(() => parsePolicy(`{"${name}": 1}`), name).toThrow(
      `CLAVIGER_POLICY has no room ${name}: ${name} is now ${place}`,
    );
  }
  expect(() => parsePolicy('{"redis": {"poolSize": 1}}')).toThrow(
    "CLAVIGER_POLICY has no redis.poolSize. Give postgres.poolSize",
  );
  expect(() => parsePolicy('{"clockRateError": 0.01}')).toThrow(
    "CLAVIGER_POLICY has no clockRateError: the server fixes it now. Leave it out",
  );
});

it.each([0, -1, 2.5, "20", null, true, [1], {}])("%j is no positive whole number", (value) => {
  const text = JSON.stringify({ manage: { keysPerOwner: value } });
  expect(() => parsePolicy(text)).toThrow(
    `CLAVIGER_POLICY has ${JSON.stringify(value)} for manage.keysPerOwner. Give a positive whole number`,
  );
});

it("every default is a value that its entry takes", () => {
  for (const [room, entries] of ROOMS) {
    for (const [name, entry] of Object.entries(entries)) {
      expect(entry.holds(entry.default), `${room}.${name}`).toBe(true);
      expect(entry.holds("no value of this kind!"), `control: ${room}.${name}`).toBe(false);
    }
  }
});

it("a time is not longer than a timer, or a date, can hold: timers that are too long fire at once", () => {
  for (const [room, entries] of ROOMS) {
    for (const name of Object.keys(entries).filter((each) => each.endsWith("Ms"))) {
      const text = JSON.stringify({ [room]: { [name]: 9_000_000_000_000_000 } });
      expect(() => parsePolicy(text), name).toThrow(/milliseconds, at most \d+$|milliseconds from 200 to 60000$/);
    }
  }
  expect(() => parsePolicy('{"manage": {"forgetEveryMs": 2592000000}}')).toThrow("at most 2073600000");
  expect(parsePolicy('{"manage": {"retentionMs": 2592000000}}').manage.retentionMs).toBe(2_592_000_000);
});

it.each(["", "a", "ACME", "ac_me", "acme1", "a".repeat(17), 7])("%j is no brand", (value) => {
  const text = JSON.stringify({ manage: { brand: value } });
  expect(() => parsePolicy(text)).toThrow(/for manage\.brand\. Give 2 to 16 lower-case letters/);
});

it.each([[[]], [["*"]], [["orders:*", "billing:read"]]])("%j are scopes that users may grant", (scopes) => {
  const text = JSON.stringify({ access: { userGrantableScopes: scopes } });
  expect(parsePolicy(text).access.userGrantableScopes).toEqual(scopes);
});

it.each([
  [["claviger:*"]],
  [["orders:*", "claviger:verify"]],
  [["claviger"]],
  [["Orders:*"]],
  [["orders:**"]],
  [[""]],
  [[7]],
  "*",
  {},
])("%j are no scopes that users may grant", (scopes) => {
  const text = JSON.stringify({ access: { userGrantableScopes: scopes } });
  expect(() => parsePolicy(text)).toThrow(/for access\.userGrantableScopes\. Give a list of scopes outside claviger:/);
});
