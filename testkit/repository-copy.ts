import { execFile } from "node:child_process";
import { cp, mkdtemp, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

/** The root of this repository. */
export const REPOSITORY = fileURLToPath(new URL("..", import.meta.url));

export interface RepositoryCopy {
  readonly folder: string;
  /** Removes it. Twice is fine. */
  remove(): Promise<void>;
}

/** A fresh clone with the changes that are not committed yet, and with what `npm install` would install. */
export async function copyRepository(): Promise<RepositoryCopy> {
  const folder = await mkdtemp(join(tmpdir(), "claviger-clone-"));
  const args = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
  const listed = await promisify(execFile)("git", args, { cwd: REPOSITORY });
  // Where node_modules is a link, git takes it for a file.
  const names = listed.stdout.split("\0").filter((name) => name !== "" && name !== "node_modules");
  await Promise.all(names.map((name) => cp(join(REPOSITORY, name), join(folder, name)).catch(ignoreMissing)));
  await symlink(join(REPOSITORY, "node_modules"), join(folder, "node_modules"));
  return { folder, remove: () => rm(folder, { recursive: true, force: true }) };
}

/** A file that is deleted and not committed is still listed. */
function ignoreMissing(error: NodeJS.ErrnoException): void {
  if (error.code !== "ENOENT") throw error;
}
