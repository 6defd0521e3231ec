import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Command, Option } from "commander";
import { afterAll, beforeAll, expect, it } from "vitest";
import { createWholeProgram } from "../../src/cli/program.ts";
import { startClaviger, type TestClaviger } from "../../testkit/claviger.ts";
import { createFakeShell, runInFakeShell } from "../../testkit/fakes/fake-shell.ts";

/** Values that are wrong for most flags. */
const WRONG = ["", "banana", "-1", "Foo Bar", "a,b", "100000d", "x".repeat(600), "\u0001", "{"];

/** What a command needs beside the flag that is wrong. `ID` is the id of a key. */
const REST: Readonly<Record<string, readonly string[]>> = {
  "keys create": ["--name", "fine"],
  "keys get": ["ID"],
  "keys update": ["ID", "--name", "fine"],
  "keys rotate": ["ID"],
  "keys retire": ["ID", "--version", "1"],
  "keys revoke": ["ID"],
  "keys disable": ["ID"],
  "keys enable": ["ID"],
};

/** Commands that run a server or work on a database; their flags are tested beside their code. */
const NOT_ASKED = /^(serve|migrate|bootstrap|backup|canary|audit (head|verify))$/;

let claviger: TestClaviger;
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "claviger-cli-errors-"));
  // A wrong value may be the name of a folder that a command makes.
  process.chdir(folder);
  claviger = await startClaviger("embedded");
}, 60_000);
afterAll(async () => {
  await claviger.close();
  process.chdir(tmpdir());
  await rm(folder, { recursive: true });
});

interface Flag {
  readonly command: string;
  readonly option: Option;
}

function flagsOf(command: Command, path: readonly string[] = []): Flag[] {
  const own = command.options
    .filter(({ required, hidden, long }) => required && !hidden && long !== "--url" && long !== "--timeout")
    .map((option) => ({ command: path.join(" "), option }));
  return own.concat(command.commands.flatMap((child) => flagsOf(child, [...path, child.name()])));
}

/** What in an error is not for people: regular expressions, and names of fields of the API. */
function unreadable(text: string, given: string): string[] {
  const own = given === "" ? text : text.replaceAll(given, "");
  return [
    ...(own.match(/\^\S*|\[\^?[0a]-[9z]\S*|regex\S*/g) ?? []),
    ...(own.match(/\b[a-z]+(?:_[a-z]+)+\b/g) ?? []),
  ].filter((word) => word !== "key_");
}

it("no error of any flag holds a regular expression or a field of the API, and none says a thing twice", {
  timeout: 300_000,
}, async () => {
  const { shell } = createFakeShell();
  const flags = flagsOf(await createWholeProgram(shell)).filter(({ command }) => !NOT_ASKED.test(command));
  expect(flags.length).toBeGreaterThan(30);
  const XDG_CONFIG_HOME = join(folder, "config");
  const environment = { CLAVIGER_URL: claviger.url, CLAVIGER_TOKEN: claviger.adminToken, XDG_CONFIG_HOME };
  const { key } = await claviger.admin.keys.createKey({ displayName: "fine", owner: "claviger-cli-errors" });
  const id = key?.id ?? "";
  let refused = 0;
  const problems: string[] = [];
  const tryValue = async ({ command, option }: Flag, value: string) => {
    const flag = option.long ?? "";
    const rest = (REST[command] ?? []).map((word) => (word === "ID" ? id : word));
    const words = [...command.split(" "), ...rest, flag, value];
    const { code, err } = await runInFakeShell(words, { environment, input: "clv_live_x" });
    const said = (what: string) => problems.push(`${what}: ${JSON.stringify(words)}: ${err}`);
    if (code > 3 && err !== "") said(`code ${code}`);
    for (const word of unreadable(err.replaceAll(id, ""), value)) said(word);
    const lines = err.split("\n").filter((line) => line !== "");
    if (new Set(lines.map((line) => line.replace(/^error: |^ +/, ""))).size < lines.length) said("twice");
    if (code >= 2) refused += 1;
    const isAboutValue = code === 2 || err.includes("INVALID_FIELD");
    if (isAboutValue && !err.includes(flag)) said("no flag");
  };
  for (const flag of flags) await Promise.all(WRONG.map((value) => tryValue(flag, value)));
  expect(problems).toEqual([]);
  expect(refused).toBeGreaterThan(100);
});

it("the control: a regular expression and a field of the API are found", () => {
  expect(unreadable("display_name: does not match regex pattern `^key_[0-7]$`", "x")).not.toEqual([]);
  expect(unreadable("--name must not be empty", "x")).toEqual([]);
});
