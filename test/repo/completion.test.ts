import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { COMMANDS } from "../../src/cli/command-tree.ts";
import { SHELLS, type ShellName } from "../../src/cli/commands/completion.ts";
import { describeWithShell } from "../../testkit/describe-with.ts";
import { runInFakeShell } from "../../testkit/fakes/fake-shell.ts";

/** Milliseconds for a shell to start, on a machine that may be busy. */
const SHELL_MS = 60_000;

let folder: string;
const scripts = new Map<ShellName, string>();

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "claviger-completion-"));
  for (const shell of SHELLS) {
    const { code, out } = await runInFakeShell(["completion", shell]);
    expect(code).toBe(0);
    scripts.set(shell, join(folder, `claviger.${shell}`));
    writeFileSync(join(folder, `claviger.${shell}`), out);
  }
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function runShell(shell: ShellName, args: readonly string[]): string {
  const { stdout, stderr } = spawnSync(shell, args, { cwd: folder, encoding: "utf8", timeout: SHELL_MS });
  expect(stderr).toBe("");
  return stdout;
}

/** Asks a real shell what it offers after `words`, of which the last is still being typed. */
const OFFERS: Readonly<Record<ShellName, (words: readonly string[]) => string[]>> = {
  bash(words) {
    const script = [
      `source ${scripts.get("bash")}`,
      `COMP_WORDS=(claviger ${words.map((word) => `'${word}'`).join(" ")})`,
      `COMP_CWORD=${words.length}`,
      "_claviger",
      `printf "%s\\n" "\${COMPREPLY[@]}"`,
    ].join("\n");
    return runShell("bash", ["--norc", "-c", script]).split("\n").filter(Boolean);
  },
  // Outside of its line editor, zsh's own functions only say what they would offer.
  zsh(words) {
    const typed = words.at(-1) ?? "";
    const script = [
      "compdef() { :; }",
      `_describe() { local each; for each in "\${entries[@]}"; do print -r -- "\${each%%:*}"; done; }`,
      'compadd() { shift; print -rl -- "$@"; }',
      "_files() { print -rl -- *; }",
      "_message() { :; }",
      `source ${scripts.get("zsh")}`,
      `words=(claviger ${words.map((word) => `'${word}'`).join(" ")})`,
      "CURRENT=$#words",
      "_claviger",
    ].join("\n");
    return runShell("zsh", ["-f", "-c", script])
      .split("\n")
      .filter((word) => word !== "" && word.startsWith(typed));
  },
  fish(words) {
    const line = ["claviger", ...words].join(" ");
    const script = `source ${scripts.get("fish")}; complete -C '${line}'`;
    return runShell("fish", ["--no-config", "-c", script])
      .split("\n")
      .flatMap((offer) => offer.split("\t")[0] || []);
  },
};

for (const shell of SHELLS) {
  describeWithShell(shell, `completion in ${shell}`, () => {
    const offers = (...words: string[]) => OFFERS[shell](words);

    it("offers every command", { timeout: SHELL_MS }, () => {
      expect(offers("")).toEqual(expect.arrayContaining(Object.keys(COMMANDS)));
      expect(offers("ver")).toEqual(expect.arrayContaining(["verify", "version"]));
      expect(offers("ver")).not.toContain("keys");
    });

    it("offers the commands of a group, and the flags of a command", { timeout: SHELL_MS }, () => {
      expect(offers("keys", "re")).toEqual(expect.arrayContaining(["retire", "revoke", "rotate"].slice(0, 2)));
      expect(offers("keys", "list", "--exp")).toEqual(["--expires-before"]);
      expect(offers("keys", "create", "--exp")).toEqual([]);
    });

    it("offers the choices of a flag or an argument, and files where one is due", { timeout: SHELL_MS }, () => {
      expect(offers("keys", "list", "--state", "").sort()).toEqual(["active", "disabled", "expired", "revoked"]);
      expect(offers("completion", "z")).toEqual(["zsh"]);
      expect(offers("audit", "verify", "--head", "claviger.b")).toEqual(["claviger.bash"]);
    });

    it("offers no flag for a secret or a credential", { timeout: SHELL_MS }, () => {
      expect(offers("keys", "list", "--to")).toEqual([]);
      expect(offers("verify", "--se")).toEqual([]);
    });
  });
}
