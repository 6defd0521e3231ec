import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

it.runIf(existsSync(join(ROOT, ".git")))("Git tracks no file of a data folder, and no file with a strange name", () => {
  const { stdout } = spawnSync("git", ["ls-files", "-z"], { cwd: ROOT, encoding: "utf8" });
  const files = stdout.split("\0").filter((file) => file !== "");
  expect(files.length).toBeGreaterThan(500);
  const isStray = (file: string) =>
    /(^|\/)(root-secrets|admin-key|holder|PG_VERSION|[^/]+\.tgz)$/.test(file) || !/^[\w.@/+-]+$/.test(file);
  expect(files.filter(isStray)).toEqual([]);
});
