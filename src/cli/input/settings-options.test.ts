import { describe, expect, it } from "vitest";
import { runInFakeShell } from "../../../testkit/fakes/fake-shell.ts";

/** Nothing listens on port 1. */
const DATABASE_URL = "postgres://nobody@127.0.0.1:1/none";

async function flagsOf(words: string): Promise<string[]> {
  const { out } = await runInFakeShell([...words.split(" "), "--help"]);
  return [...out.matchAll(/^ {2}(?:-\w, )?--([\w-]+)/gm)].map(([, flag = ""]) => flag);
}

describe("what works on the database itself", () => {
  it.each([
    ["migrate", ["data-dir", "database-url", "lease-database-url", "json", "help"]],
    [
      "bootstrap",
      ["data-dir", "database-url", "root-secrets-file", "log-level", "policy", "lease-database-url", "json", "help"],
    ],
  ])("%s has the flags of the settings that it needs, and no others", async (command, flags) => {
    expect((await flagsOf(command)).sort()).toEqual(flags.sort());
  });

  it("migrates without the root secrets, whatever other settings hold", async () => {
    const environment = { DATABASE_URL, CLAVIGER_LISTEN: "banana", CLAVIGER_JWT_ISSUERS: "{" };
    const { code, err } = await runInFakeShell(["migrate"], { environment });
    expect(err).toContain("cannot use Postgres at 127.0.0.1:1/none");
    expect(code).toBe(3);
  });

  it("makes no key without them", async () => {
    const { code, err } = await runInFakeShell(["bootstrap"], { environment: { DATABASE_URL } });
    expect(err).toContain("CLAVIGER_ROOT_SECRETS is not set");
    expect(code).toBe(2);
  });
});

describe("a setting that is wrong", () => {
  it.each([
    [["--listen", "banana"], {}, "error: --listen is"],
    [["--workers", "banana"], {}, "error: --workers is"],
    [[], { CLAVIGER_LISTEN: "banana" }, "error: CLAVIGER_LISTEN is"],
  ])("is called what the operator called it: serve %j with %j", async (flags, environment, said) => {
    const { code, err } = await runInFakeShell(["serve", ...flags], { environment });
    expect(err).toContain(said);
    expect(code).toBe(2);
  });
});
