import type { Command } from "commander";
import { describe, expect, it } from "vitest";
import { createFakeShell, runInFakeShell } from "../../testkit/fakes/fake-shell.ts";
import { widthOf } from "./output/printable.ts";
import { createWholeProgram } from "./program.ts";

const ID = "key_01hzy3v7mkf5c9q2w8xanb4tde";
const SECRET = "clv_live_0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLM";
/** Nothing listens on port 1: a command that gets as far as calling exits with 4. */
const NOWHERE = { environment: { CLAVIGER_URL: "http://127.0.0.1:1" } };

describe("a wrong command line", () => {
  it.each([
    [["veryfy"], "unknown command 'veryfy' (did you mean verify?)"],
    [["keys", "creat"], "unknown command 'creat' (did you mean create?)"],
    [["keys", "list", "--onwer", "u1"], "unknown option '--onwer' (did you mean --owner?)"],
    [["serve", "--lisen", "x"], "unknown option '--lisen' (did you mean --listen?)"],
    [["keys", "create"], "--name is required"],
    [["keys", "get"], "missing required argument 'key-id'"],
    [["verify", "--environment", "prod"], "Allowed choices are live, test"],
    [["keys", "list", "--state", "dead"], "Allowed choices are active, disabled, expired, revoked"],
    [["keys", "list", "--label", "a=1", "--label", "a=2"], "Label a is given twice"],
    [["keys", "list", "--page-size", "0"], "Give a whole number from 1"],
    [["keys", "list", "--expires-before", "2027-02-20T00:00:00"], "such as 2027-02-20T00:00:00Z (RFC 3339), or a span"],
    [["keys", "list", "--url", "127.0.0.1:4640"], "write it as http://127.0.0.1:4640"],
    [["keys", "list", "--timeout", "0"], "Give 1ms to 24h"],
    [["keys", "create", "--name", "x", "--metadata", "[]"], "Write a JSON object"],
    [["keys", "create", "--name", "x", "--quiet", "--json"], "--quiet and --json exclude each other"],
    [["keys", "retire", ID, "--version", "0"], "Give a whole number from 1"],
    [["keys", "update", ID], "nothing to change"],
    [["keys", "update", ID, "--scope", "a", "--clear", "scopes"], "both set and cleared"],
    [["keys", "revoke"], "say which"],
    [["keys", "revoke", ID, "--owner", "u1"], "say which"],
    [["keys", "delete", ID], "it is `claviger keys revoke` here"],
    [["keys", "show", "--help"], "it is `claviger keys get` here"],
    [["keys", "shwo", "--help"], "unknown command 'shwo'"],
    [["status"], "it is `claviger health` here"],
    [["keys", "get", "hunter2"], "A key id is key_ and 26 characters"],
    [["keys", "create", "--name", ""], "--name '' is not valid"],
    [["keys", "create", "--name", "x", "--scope", "a:b,c:d"], "repeat --scope"],
    [["keys", "create", "--name"], "--name needs a value"],
    [["keys", "list", "--page-token", "x", "--all"], "exclude each other"],
    [["keys"], "name a command"],
    [[], "name a command"],
  ])("%j exits with 2 and says what is right", async (words, said) => {
    const { code, out, err } = await runInFakeShell(words, NOWHERE);
    expect(err).toContain(said);
    expect({ code, out }).toEqual({ code: 2, out: "" });
  });

  it.each([
    ["an unset variable as the owner selects nobody", ["keys", "revoke", "--owner", "", "--label", "a=1"]],
    ["a dry run of one key revokes nothing", ["keys", "revoke", ID, "--dry-run"]],
  ])("%s", async (_, words) => {
    expect((await runInFakeShell(words, NOWHERE)).code).toBe(2);
  });

  it("is told as JSON with --json", async () => {
    const { code, err } = await runInFakeShell(["keys", "list", "--onwer", "u1", "--json"]);
    expect(code).toBe(2);
    expect(JSON.parse(err)).toEqual({
      code: "USAGE",
      reason: "",
      message: "unknown option '--onwer' (did you mean --owner?); --help shows what is possible",
      metadata: {},
      violations: [],
    });
  });
});

describe("a secret given as an argument", () => {
  it.each([
    [["verify", SECRET]],
    [["verify", "hunter2"]],
    [["verify", "--", "hunter2"]],
    [["verify", "--secret", "hunter2"]],
    [["verify", "--secret=hunter2"]],
    [["report-leaked", SECRET]],
    [["report-leaked", "hunter2"]],
    [["keys", "revoke", SECRET]],
    [["keys", "revoke", "--secret", "hunter2"]],
    [["keys", "revoke", "--secret=hunter2"]],
    [["keys", "create", "--name", SECRET]],
    [["keys", "list", `--lable=x=${SECRET}`]],
    [[SECRET]],
    [["verify", "--json", SECRET]],
  ])("%j is refused without being repeated, and said to be in the history", async (words) => {
    const { code, out, err } = await runInFakeShell(words, NOWHERE);
    expect(code).toBe(2);
    expect(err).toContain("pipe it in");
    expect(err).toContain("shell's history");
    expect(out + err).not.toMatch(/hunter2|0123456789abc/);
  });

  it.each([
    [["keys", "list", "--token", "hunter2"]],
    [["keys", "list", "--token=hunter2"]],
    [["keys", "list", "--tokn=hunter2"]],
    [["keys", "get", ID, "hunter2"]],
    [["keys", "create", "--name", "x", "--password=hunter2"]],
  ])("as a credential, %j is refused without being repeated", async (words) => {
    const { code, out, err } = await runInFakeShell(words, NOWHERE);
    expect(code).toBe(2);
    expect(out + err).not.toContain("hunter2");
  });
});

describe("a credential", () => {
  it.each([
    [{ CLAVIGER_TOKEN: "hunter2\nhunter2" }, "CLAVIGER_TOKEN does not hold a credential"],
    [{ CLAVIGER_TOKEN: "a", CLAVIGER_TOKEN_FILE: "b" }, "are both set: unset one"],
    [{ CLAVIGER_TOKEN_FILE: "/does/not/exist" }, "cannot read the file that CLAVIGER_TOKEN_FILE names (ENOENT)"],
  ])("in %j that cannot be one is a usage error that does not repeat it", async (environment, said) => {
    const { code, err } = await runInFakeShell(["keys", "list"], { environment });
    expect(code).toBe(2);
    expect(err).toContain(said);
    expect(err).not.toContain("hunter2");
  });
});

describe("help", () => {
  it.each([
    "serve",
    "migrate",
    "bootstrap",
    "verify",
    "report-leaked",
    "health",
    ...["create", "list", "get", "update", "rotate", "retire", "revoke", "disable", "enable"].map(
      (name) => `keys ${name}`,
    ),
  ])("of %s has an example of it", async (name) => {
    const { code, out, err } = await runInFakeShell([...name.split(" "), "--help"]);
    expect({ code, err }).toEqual({ code: 0, err: "" });
    expect(out.slice(out.indexOf("Examples:"))).toContain(`claviger ${name}`);
  });

  it("shows neither a flag for a secret nor one for a credential", async () => {
    for (const words of [["verify"], ["keys", "get"], ["serve"]]) {
      expect((await runInFakeShell([...words, "--help"])).out).not.toMatch(/--(secret|token|root-secrets) /);
    }
  });

  it("lists every command and every exit code", async () => {
    const { out } = await runInFakeShell(["--help"]);
    expect(out).toContain("report-leaked");
    expect(out).toContain("Exit codes: 0 OK or VALID, 1 another verdict, 2 usage, 3 refused by the server");
  });
});

describe("the version", () => {
  it("is printed", async () => {
    expect(await runInFakeShell(["--version"])).toEqual({ code: 0, out: "1.2.3\n", err: "" });
  });
});

describe("a server that is not there", () => {
  it("exits with 4, and says how to start one", async () => {
    const { code, err } = await runInFakeShell(["keys", "list"], NOWHERE);
    expect(code).toBe(4);
    expect(err).toContain("cannot reach http://127.0.0.1:1");
    expect(err).toContain("`./bin/claviger.js serve`, or set CLAVIGER_URL");
  });

  it("is told as JSON with --json", async () => {
    const { code, err } = await runInFakeShell(["health", "--json"], NOWHERE);
    expect(code).toBe(4);
    expect(JSON.parse(err)).toMatchObject({ code: "UNAVAILABLE", reason: "", metadata: {}, violations: [] });
  });
});

describe("the help of every command", async () => {
  const pathsOf = (command: Command): string[][] =>
    command.commands.flatMap((child) => [[child.name()], ...pathsOf(child).map((path) => [child.name(), ...path])]);
  const paths = [[], ...pathsOf(await createWholeProgram(createFakeShell().shell))];

  it("is that of a whole tree, with commands in groups", () => {
    expect(paths).toContainEqual(["verify"]);
    expect(paths).toContainEqual(["keys", "revoke"]);
  });

  it.each([
    ["in a pipe", {}],
    ["on a terminal of 80", { columns: 80 }],
  ])("fits 80 columns %s", async (_, options) => {
    for (const path of paths) {
      const { code, out } = await runInFakeShell([...path, "--help"], options);
      expect(code).toBe(0);
      for (const line of out.split("\n")) expect(widthOf(line), line).toBeLessThanOrEqual(80);
    }
  });

  it("is wider where the terminal is", async () => {
    const { out } = await runInFakeShell(["serve", "--help"], { columns: 120 });
    const widths = out.split("\n").map(widthOf);
    expect(Math.max(...widths)).toBeGreaterThan(80);
    expect(Math.max(...widths)).toBeLessThanOrEqual(120);
  });
});
