import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { identityHeaders } from "../../src/gateways/identity-headers.ts";
import { REPOSITORY } from "../../testkit/repository-copy.ts";

const FOLDER = join(REPOSITORY, "examples/gateways");
const NAMES = identityHeaders().map(([name]) => name);
/** Envoy Gateway has no list of headers: it sets those that the answer of Check has. */
const BY_CHECK = ["envoy-gateway.yaml"];
/** These leave the question to another file. */
const BY_OTHER_FILE = ["haproxy.cfg"];

const examples = readdirSync(FOLDER)
  .filter((name) => name !== "README.md")
  .map((name) => ({
    name,
    text: readFileSync(join(FOLDER, name), "utf8")
      .toLowerCase()
      .replaceAll(/^\s*#.*$/gm, ""),
  }));

/** The identity headers that the text names whole, or by their last part beside `x-claviger-`. */
function namedIn(text: string): string[] {
  const isWhole = text.includes(NAMES[0] ?? "");
  return NAMES.filter((name) => text.includes(isWhole ? name : `"${name.replace("x-claviger-", "")}"`));
}

it("each configuration names every identity header of the server", () => {
  const whole = examples.filter(({ name }) => ![...BY_CHECK, ...BY_OTHER_FILE].includes(name));
  expect(whole.length).toBeGreaterThan(9);
  for (const { name, text } of whole) expect(namedIn(text), name).toEqual(NAMES);
});

it("each configuration reaches the server at one of its ports", () => {
  const asking = examples.filter(({ name }) => !BY_OTHER_FILE.includes(name));
  for (const { name, text } of asking) expect(text, name).toMatch(/\b(4640|4641)\b/);
});

it("no configuration lets requests in when there is no decision, or keeps answers", () => {
  const unsafe = /failure_mode_allow: true|failopen: true|allow_degradation: true|proxy_cache (?!off)|auth-cache-key/;
  for (const { name, text } of examples) expect(text, name).not.toMatch(unsafe);
});
