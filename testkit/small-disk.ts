import { execFileSync } from "node:child_process";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A file system of that size, which only root can make; undefined where it cannot be made. */
export function mountSmall(mib: number): string | undefined {
  const folder = mkdtempSync(join(tmpdir(), "claviger-small-"));
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", `size=${mib}m`, "tmpfs", folder], { stdio: "pipe" });
  } catch {
    rmSync(folder, { recursive: true });
    return undefined;
  }
  chmodSync(folder, 0o755);
  return folder;
}

/** Writes files until there is no room for another, and returns a function that removes them. */
export function fillDisk(folder: string): () => void {
  const files: string[] = [];
  for (let size = 16 * 1024 * 1024; size >= 4096; size = size / 2) {
    try {
      for (;;) {
        files.push(join(folder, `filler-${files.length}`));
        writeFileSync(files.at(-1) ?? "", Buffer.alloc(size));
      }
    } catch {
      // Full for that size.
    }
  }
  return () => files.forEach((file) => void rmSync(file, { force: true }));
}

/** Mounts it again for reading alone. */
export function makeReadOnly(folder: string): void {
  execFileSync("mount", ["-o", "remount,ro", folder], { stdio: "pipe" });
}

export function unmount(folder: string): void {
  execFileSync("umount", ["-l", folder]);
  rmSync(folder, { recursive: true, force: true });
}
