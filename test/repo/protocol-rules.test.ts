import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { AGENT_RULES } from "../simulation/agent-rules.ts";
import { RULES } from "../simulation/rules.ts";
import { anchorsOf, headingsOf } from "./markdown.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const PAGE = "docs/protocol/revocation.md";
const read = (path: string) => readFileSync(join(ROOT, path), "utf8");

/** Rules without an entry in `test/simulation/rules.ts`, and why. Every rule has one at present. */
const UNSIMULATED: Readonly<Record<string, string>> = {};

/** The fragments of the page that a source text cites: `r5`, `p1-live`. */
function citationsOf(text: string): string[] {
  return Array.from(text.matchAll(/docs\/protocol\/revocation\.md#([\w-]+)/g), ([, fragment = ""]) => fragment);
}

/** Rules and promises that a source text names without the page: `rule R5`, `(P2)`. */
function bareCitationsOf(text: string): string[] {
  const prose = text.replace(/(["'`])(?:\\.|(?!\1).)*\1/g, "");
  return Array.from(prose.matchAll(/(?<![\w#-])(?:R(?:[1-9]|[1-9]\d)|P[1-4])(?![\w-])/g), ([name]) => name);
}

/** The rules that the page defines: one heading `### R5: …` each. */
function rulesOf(page: string): string[] {
  return headingsOf(page).flatMap(({ title }) => /^(R\d+): /.exec(title)?.[1] ?? []);
}

const sources = globSync("src/**/*.{ts,md}", { cwd: ROOT }).map((path) => ({ path, text: read(path) }));
const page = read(PAGE);
const rules = rulesOf(page);
const simulated = new Set(RULES.map(({ id }) => id.split(",")[0] ?? ""));

describe("the page of the revocation protocol", () => {
  it("defines R1 to R20, each once and in order, with an anchor of that name", () => {
    expect(rules).toEqual(Array.from({ length: 20 }, (_, index) => `R${index + 1}`));
    expect(rules.filter((rule) => !anchorsOf(page).has(rule.toLowerCase()))).toEqual([]);
  });

  it("defines every rule and promise that a source cites", () => {
    const cited = sources.flatMap(({ path, text }) => citationsOf(text).map((fragment) => ({ path, fragment })));
    expect(cited.length).toBeGreaterThan(20);
    expect(cited.filter(({ fragment }) => !anchorsOf(page).has(fragment))).toEqual([]);
  });

  it("is named wherever a source cites a rule", () => {
    const code = sources.filter(({ path }) => path.endsWith(".ts") && !path.endsWith(".test.ts"));
    expect(code.flatMap(({ path, text }) => bareCitationsOf(text).map((rule) => `${path}: ${rule}`))).toEqual([]);
  });

  it("defines no rule that no source cites", () => {
    const cited = new Set(sources.flatMap(({ text }) => citationsOf(text)));
    expect(rules.filter((rule) => !cited.has(rule.toLowerCase()))).toEqual([]);
  });

  it("defines no rule that is not taken away in the simulation, and the simulation takes away no other", () => {
    expect(rules.filter((rule) => !simulated.has(rule) && UNSIMULATED[rule] === undefined)).toEqual([]);
    expect(Object.keys(UNSIMULATED).filter((rule) => simulated.has(rule))).toEqual([]);
    expect([...simulated].filter((id) => /^R\d/.test(id) && !rules.includes(id))).toEqual([]);
  });

  it("names, under each rule, every mutation that takes it away", () => {
    const [, ...sections] = page.split(/^### (?=R\d+: )/m);
    const missing = RULES.filter(({ id }) => {
      const section = sections.find((text) => text.startsWith(`${id.split(",")[0]}: `));
      return /^R\d/.test(id) && !section?.includes(`\`${id}\``);
    });
    expect(missing.map(({ id }) => id)).toEqual([]);
  });
});

it("the page of Sync lists every rule of nested leases, and no other", () => {
  const listed = Array.from(read("docs/protocol/sync.md").matchAll(/^\| (N\d+) \|/gm), ([, rule]) => rule);
  expect(listed).toEqual([...new Set(AGENT_RULES.map(({ id }) => id.split(",")[0]))]);
});

/** The states of a Mermaid diagram, under the heading that begins with `title`. */
function statesDrawn(text: string, title: string): string[] {
  const section = text.split(/^## /m).find((part) => part.startsWith(title)) ?? "";
  const arrows = Array.from(section.matchAll(/^ {2}(\S+) --> ([^\s:]+)/gm), ([, from = "", to = ""]) => [from, to]);
  return [...new Set(arrows.flat())].filter((state) => state !== "[*]").sort();
}

/** The members of a union of strings that a source exports. */
function membersOf(type: string, source: string): string[] {
  const union = new RegExp(`^export type ${type} = ([^;]+);`, "m").exec(source)?.[1] ?? "";
  return Array.from(union.matchAll(/"(\w+)"/g), ([, member = ""]) => member).sort();
}

it.each([
  ["State of a node's lease", "LeaseState", "src/revocation/lease-keeper.ts"],
  ["State of an agent's link", "LinkState", "src/sdk/verifier/sync-link.ts"],
])("the diagram %j has the states of %s, and a sentence for each", (title, type, file) => {
  const states = membersOf(type, read(file));
  expect(states.length).toBeGreaterThan(3);
  const text = read("docs/protocol/sync.md");
  expect(statesDrawn(text, title)).toEqual(states);
  const section = text.split(/^## /m).find((part) => part.startsWith(title)) ?? "";
  expect(states.filter((state) => !section.includes(`\n| \`${state}\` | `))).toEqual([]);
});

describe("control:", () => {
  it("a state that is drawn and not in the source is seen", () => {
    const drawn = statesDrawn("## Title\n\n  [*] --> leased: start\n  leased --> asleep: night\n", "Title");
    expect(drawn).toEqual(["asleep", "leased"]);
    expect(membersOf("LeaseState", 'export type LeaseState = "leased" | "lapsed";')).toEqual(["lapsed", "leased"]);
  });

  it("an invented rule R99 is found, with the page and without", () => {
    const [fragment = ""] = citationsOf("/** Waits (docs/protocol/revocation.md#r99). */");
    expect(fragment).toBe("r99");
    expect(anchorsOf(page).has(fragment)).toBe(false);
    expect(bareCitationsOf("/** Waits (rule R99). */")).toEqual(["R99"]);
  });

  it("a promise without the page is found, and text in quotes is not", () => {
    expect(bareCitationsOf("// says nothing of the key (P2)")).toEqual(["P2"]);
    expect(bareCitationsOf('const name = "R5"; // docs/protocol/revocation.md#r5')).toEqual([]);
  });

  it("a rule that a page defines twice, or not in this form, is seen", () => {
    expect(rulesOf("### R1: a\n### R1: b\n### R2 c\n#### R3: d\n")).toEqual(["R1", "R1", "R3"]);
  });
});
