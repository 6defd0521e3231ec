import { copyFileSync, existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it, onTestFinished } from "vitest";
import { REPOSITORY } from "../../testkit/repository-copy.ts";
import { runProgram } from "../../testkit/run-program.ts";

it("npm start and npm test empty no folder behind a link called node_modules", async () => {
  const folder = mkdtempSync(join(tmpdir(), "claviger-link-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const [root, packages] = [join(folder, "root"), join(folder, "packages")];
  mkdirSync(join(root, "scripts"), { recursive: true });
  mkdirSync(packages);
  writeFileSync(join(packages, "kept"), "");
  symlinkSync(packages, join(root, "node_modules"), "dir");
  for (const file of ["scripts/install-missing.mjs", "package.json", "package-lock.json"]) {
    copyFileSync(join(REPOSITORY, file), join(root, file));
  }
  const { code, stderr } = await runProgram(process.execPath, ["scripts/install-missing.mjs"], { cwd: root });
  expect([code, stderr]).toEqual([1, expect.stringContaining("remove the link")]);
  expect(existsSync(join(packages, "kept"))).toBe(true);
});
