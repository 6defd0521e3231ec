import { execFileSync } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

/**
 * Writes the bill of materials of the package `claviger` (CycloneDX), from the lock file: all that it installs, and no
 * tool of development. `npm sbom --omit=dev` leaves out whatever a tool needs too (npm 11.19: `pg`, `pino`, `jose`), so
 * that npm gets a manifest without those tools.
 *
 * `node scripts/make-sbom.ts [file]`, by default into `claviger.cdx.json`.
 */
const ROOT = fileURLToPath(new URL("..", import.meta.url));
const target = resolve(process.argv[2] ?? "claviger.cdx.json");

const scratch = mkdtempSync(join(tmpdir(), "claviger-sbom-"));
try {
  // npm names the root component after its folder.
  const folder = join(scratch, "claviger");
  mkdirSync(folder);
  for (const file of ["package.json", "package-lock.json", ".npmrc"])
    copyFileSync(join(ROOT, file), join(folder, file));
  const npm = (...args: string[]) => execFileSync("npm", args, { cwd: folder, encoding: "utf8", maxBuffer: 2 ** 26 });
  npm("pkg", "delete", "devDependencies");
  npm("install", "--package-lock-only", "--ignore-scripts", "--prefer-offline", "--silent");
  writeFileSync(target, npm("sbom", "--package-lock-only", "--sbom-format=cyclonedx", "--sbom-type=application"));
} finally {
  rmSync(scratch, { recursive: true, force: true });
}
