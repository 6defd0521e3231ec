import { expect, it } from "vitest";
import { ConfigError } from "./config-error.ts";
import { parsePolicy } from "./parse-policy.ts";
import { DEFAULT_POLICY } from "./policy.ts";

it("without a text the policy is the default", () => {
  expect(parsePolicy(undefined)).toEqual(DEFAULT_POLICY);
  expect(parsePolicy("{}")).toEqual(DEFAULT_POLICY);
});

it("a number of the text replaces the default's, and no other", () => {
  expect(parsePolicy('{"keysPerOwner": 20, "clockRateError": 0.01, "brand": "acme"}')).toEqual({
    ...DEFAULT_POLICY,
    keysPerOwner: 20,
    clockRateError: 0.01,
    brand: "acme",
  });
});

it.each(["", "20", "null", '"x"', "[]", "{", "{keysPerOwner: 1}"])("%j is not a JSON object", (text) => {
  expect(() => parsePolicy(text)).toThrow(ConfigError);
  expect(() => parsePolicy(text)).toThrow(/CLAVIGER_POLICY is not a JSON object\. Give one such as \{/);
});

it.each(["keysPerUser", "__proto__", "constructor", "toString", ""])(
  "a name that is not known, %j, is refused",
  (name) => {
    const text = `{${JSON.stringify(name)}: 1}`;
    expect(() => parsePolicy(text)).toThrow(`CLAVIGER_POLICY has no ${name}. It takes brand, keysPerOwner, `);
  },
);

it.each([0, -1, 2.5, "20", null, true, [1], {}])("%j is no positive whole number", (value) => {
  const text = JSON.stringify({ keysPerOwner: value });
  expect(() => parsePolicy(text)).toThrow(
    `CLAVIGER_POLICY has ${JSON.stringify(value)} for keysPerOwner. Give a positive whole number`,
  );
});

it("a time is not longer than a timer, or a date, can hold: timers that are too long fire at once", () => {
  for (const name of Object.keys(DEFAULT_POLICY).filter((each) => each.endsWith("Ms"))) {
    expect(() => parsePolicy(`{"${name}": 9000000000000000}`), name).toThrow(/milliseconds, at most \d+$/);
  }
  expect(() => parsePolicy('{"forgetEveryMs": 2592000000}')).toThrow("at most 2073600000");
  expect(parsePolicy('{"retentionMs": 2592000000}').retentionMs).toBe(2_592_000_000);
});

it.each(["", "a", "ACME", "ac_me", "acme1", "a".repeat(17), 7])("%j is no brand", (value) => {
  const text = JSON.stringify({ brand: value });
  expect(() => parsePolicy(text)).toThrow(/for brand\. Give 2 to 16 lower-case letters/);
});

it.each([[[]], [["*"]], [["orders:*", "billing:read"]]])("%j are scopes that users may grant", (scopes) => {
  const text = JSON.stringify({ userGrantableScopes: scopes });
  expect(parsePolicy(text).userGrantableScopes).toEqual(scopes);
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
  const text = JSON.stringify({ userGrantableScopes: scopes });
  expect(() => parsePolicy(text)).toThrow(/for userGrantableScopes\. Give a list of scopes outside claviger:/);
});
