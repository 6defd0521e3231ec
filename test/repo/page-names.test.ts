import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { REPOSITORY } from "../../testkit/repository-copy.ts";

const read = (path: string) => readFileSync(join(REPOSITORY, path), "utf8");

/** Names of settings, metrics and policy numbers, such as `CLAVIGER_LISTEN`, `claviger_redis_up` and `port.drainMs`. */
function knownNames(settings: string, metrics: string): Set<string> {
  const names = [...`${settings}${metrics}`.matchAll(/\b(?:CLAVIGER|claviger)_\w+/g)].map(([name]) => name);
  const groups = settings.split(/^### `(?=\w+`$)/m).slice(1);
  const numbers = groups.flatMap((group) => {
    const [prefix = ""] = group.split("`");
    return [...group.matchAll(/^\| `(\w+)` /gm)].map(([, name]) => `${prefix}.${name}`);
  });
  return new Set([...names, ...numbers]);
}

/** Settings, metrics and policy numbers in code spans of a page that do not exist, or that lack their group. */
function unknownNames(text: string, known: ReadonlySet<string>): string[] {
  const numbers = [...known].filter((name) => name.includes("."));
  const groups = new Set(numbers.map((name) => name.split(".")[0]));
  const bare = new Set(numbers.map((name) => name.split(".")[1]));
  const spans = [...text.matchAll(/`([^`\n]+)`/g)].map(([, code = ""]) => code);
  const names = spans.flatMap((code) => [
    ...(code.match(/\b(?:CLAVIGER|claviger)_[A-Za-z_]*[A-Za-z]\b/g) ?? []),
    ...(/^[a-z]+\.[a-z][A-Za-z]+$/.test(code) && groups.has(code.split(".")[0]) ? [code] : []),
    ...(bare.has(code) ? [code] : []),
  ]);
  return names.filter((name) => !known.has(name));
}

/** Settings of the command line, database roles, events of the log, an option of the SDK, and a bench. */
const OTHERS =
  /^(?:CLAVIGER_(?:URL|TOKEN|PROFILE|\w+_FILE)|claviger_(?:app|serve|migrate)|audit\.\w+|timeoutMs|streams)$/;

const KNOWN = knownNames(read("docs/reference/settings.md"), read("docs/reference/metrics.md"));

it("README.md and the pages for operators and managers name settings, metrics and policy numbers that exist", () => {
  expect(KNOWN).toContain("port.drainMs");
  const pages = ["README.md", "docs/quickstart.md", "docs/security.md"].concat(
    globSync("docs/{operate,manage,clients,performance}/*.md", { cwd: REPOSITORY }),
  );
  const unknown = pages.flatMap((page) => unknownNames(read(page), KNOWN).map((name) => `${page}: ${name}`));
  expect(unknown.filter((line) => !OTHERS.test(line.split(": ")[1] ?? ""))).toEqual([]);
});

it.each([
  ["a setting that does not exist", "`CLAVIGER_LISTENS=:1`", "CLAVIGER_LISTENS"],
  ["a metric that does not exist", "`claviger_redis_down{purpose}`", "claviger_redis_down"],
  ["a policy number that does not exist", "`port.drainSeconds`", "port.drainSeconds"],
  ["a policy number without its group", "`drainMs`", "drainMs"],
])("control: %s is found", (_, text, expected) => {
  expect(unknownNames(text, KNOWN)).toEqual([expected]);
});

it("control: names that exist are not", () => {
  expect(unknownNames("`CLAVIGER_LISTEN=:1` `claviger_redis_up{purpose}` `port.drainMs` `db.example`", KNOWN)).toEqual(
    [],
  );
});
