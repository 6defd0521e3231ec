import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it, test } from "vitest";
import { REPOSITORY } from "../../testkit/repository-copy.ts";

const PAGE = readFileSync(join(REPOSITORY, "src/sdk/README.md"), "utf8");
const ENTRIES: Readonly<Record<string, string>> = {
  "@claviger/sdk": "index.ts",
  "@claviger/sdk/connect": "connect/index.ts",
  "@claviger/sdk/grpc-js": "grpc-js/index.ts",
  "@claviger/sdk/http": "http/index.ts",
  "@claviger/sdk/fastify": "fastify/index.ts",
  "@claviger/sdk/testing": "testing/index.ts",
};
function sourceOf(file: string): string {
  return readFileSync(join(REPOSITORY, "src/sdk", file), "utf8");
}

/** The names in every `export { … } from`, types too. */
function exportsOf(source: string): string[] {
  const lists = [...source.matchAll(/^export (?:type )?\{([^}]+)\} from/gm)].map(([, list = ""]) => list);
  if (lists.length !== source.split("export ").length - 1) throw new Error("an export of another form; mend the test");
  return lists.flatMap((list) => list.split(",").map((name) => name.replace("type ", "").trim()));
}

function sectionOf(entry: string): string {
  const [, section] = PAGE.split(new RegExp(`^## ${entry} <a .*$`, "m"));
  return section?.split(/^## /m)[0] ?? "";
}

/** Whether the section speaks of it outside its examples: on its own, or with what it takes or has. */
function names(entry: string, name: string): boolean {
  const prose = sectionOf(entry).replace(/^```\w+\n.*?^```$/gms, "");
  const spans = [...prose.matchAll(/`([^`]+)`/g)].map(([, code = ""]) => code);
  return spans.some((code) => new RegExp(`\\b${name}\\b`).test(code));
}

describe("the page of the SDK", () => {
  it.each(Object.entries(ENTRIES))("names everything that %s exports", (entry, file) => {
    const exported = exportsOf(sourceOf(file));
    expect(exported.length).toBeGreaterThan(2);
    expect(exported.filter((name) => !names(entry, name))).toEqual([]);
  });

  test("control: does not name an export that does not exist", () => {
    expect(names("@claviger/sdk/http", "attachKey")).toBe(false);
  });

  it.each([
    ["@claviger/sdk", "verifier/create-verifier.ts"],
    ["@claviger/sdk", "verification.ts"],
    ["@claviger/sdk", "attach/key-source.ts"],
    ["@claviger/sdk/connect", "protect/key-options.ts"],
    ["@claviger/sdk/connect", "attach/attached-key.ts"],
    ["@claviger/sdk/grpc-js", "grpc-js/require-key.ts"],
    ["@claviger/sdk/http", "http/request-guard.ts"],
    ["@claviger/sdk/http", "../wire/refusal-response.ts"],
    ["@claviger/sdk/testing", "testing/fake-verifier.ts"],
  ])("names every option and field of %s that %s exports", (entry, file) => {
    const shapes = sourceOf(file).matchAll(/^export interface (\w+)[^\n]*\{\n(.*?)^\}/gms);
    const internal = ["Exchange", "HttpRequest", "ChangingKey", "RefusalResponse"];
    const fields = [...shapes]
      .filter(([, name = ""]) => !internal.includes(name))
      .flatMap(([, , body = ""]) =>
        [...body.matchAll(/^ {2}(?:readonly )?(\w+)\??[:(]/gm)].map(([, field = ""]) => field),
      );
    expect(fields.length).toBeGreaterThan(0);
    expect(fields.filter((name) => !names(entry, name))).toEqual([]);
  });

  it("links to existing sections and files only", () => {
    const anchors = [...PAGE.matchAll(/\]\(#([\w-]+)\)/g)].map(([, anchor]) => anchor);
    for (const anchor of anchors) expect(PAGE).toContain(`<a id="${anchor}">`);
    const protos = [...PAGE.matchAll(/`(?:proto\/)?((?:claviger|google)\/[\w/]+\.proto)`/g)].map(([, file]) => file);
    for (const file of protos) expect(globSync(`proto/{,vendor/}${file}`, { cwd: REPOSITORY })).toHaveLength(1);
  });
});
