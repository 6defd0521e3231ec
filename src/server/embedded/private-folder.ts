import { chmod, readdir, stat } from "node:fs/promises";
import { join } from "node:path";

/** Whatever the group and others may do. */
const OTHERS = 0o077;
/** Writing, for the group and for others. */
const OTHERS_WRITE = 0o022;

/** Windows has no modes: access is inherited from the folder above. */
const hasModes = process.platform !== "win32";

/** The access of other users of the machine to a folder or a file. */
export async function accessOfOthers(folder: string): Promise<"none" | "enter" | "write"> {
  if (!hasModes) return "none";
  const { mode } = await stat(folder);
  if ((mode & OTHERS_WRITE) !== 0) return "write";
  return (mode & OTHERS) === 0 ? "none" : "enter";
}

/** The user that the folder belongs to, where that is not the user of this process. */
export async function foreignOwner(folder: string): Promise<number | undefined> {
  const { uid } = await stat(folder);
  const own = process.geteuid?.() ?? uid;
  return uid === own ? undefined : uid;
}

/**
 * Takes a database folder and everything in it away from the group and others. A umask would not do: PGlite sets the
 * modes of its files itself (0.5: 0666 for those that initdb makes, 0644 for a few at each start).
 */
export async function makePrivate(folder: string): Promise<void> {
  if (!hasModes) return;
  await chmod(folder, 0o700);
  const entries = await readdir(folder, { withFileTypes: true });
  await Promise.all(
    entries.map((entry) => {
      const path = join(folder, entry.name);
      if (entry.isDirectory()) return makePrivate(path);
      return entry.isFile() ? chmod(path, 0o600) : undefined;
    }),
  );
}
