import { closeSync, existsSync, openSync } from "node:fs";
import { chmod, mkdir, readdir, readFile, rename, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { MIN_ROOT_BYTES } from "../../keys/root-secret.ts";
import { Secret } from "../../keys/secret.ts";
import type { Random } from "../../system/clocks.ts";
import { StartupError } from "../startup-error.ts";

/** The folder of the embedded database, held by this process alone. */
export interface DataFolder {
  readonly databaseFolder: string;
  readonly rootSecretsFile: string;
  readonly adminKeyFile: string;
  release(): void;
}

const NAMES = {
  database: "database",
  rootSecrets: "root-secrets",
  adminKey: "admin-key",
  lock: "lock",
  holder: "holder",
  backup: "backup",
  gitignore: ".gitignore",
} as const;

/** The socket in a data folder at which its holder answers with a copy of the database. */
export function backupSocket(folder: string): string {
  return join(folder, NAMES.backup);
}

/** Whether a folder has an embedded database, or would get a new one. */
export function hasDatabase(folder: string): boolean {
  return existsSync(join(folder, NAMES.database));
}

/** Names with which a folder is taken for one of Claviger's, and those of a volume that is new. */
const OWN = new Set<string>([
  ...Object.values(NAMES),
  "database.new",
  "root-secrets.new",
  "lock-journal",
  "lost+found",
]);

/**
 * Takes the folder for this user alone, and makes it if it is missing: another user could replace the secrets in it.
 * Git ignores a folder that was made here. Why SQLite's lock: docs/decisions/0017-pglite-embedded.md.
 *
 * @throws StartupError with the holder's process id when another process holds it, or if it cannot be made.
 */
export async function holdDataFolder(folder: string): Promise<DataFolder> {
  const file = (name: string) => join(folder, name);
  try {
    const made = await mkdir(folder, { recursive: true, mode: 0o700 });
    // The folder holds root secrets, and may lie in a repository under any name.
    if (made !== undefined) await writeFile(file(NAMES.gitignore), "*\n", { mode: 0o600 });
  } catch (error) {
    throw new StartupError(
      `cannot make the data folder ${folder}: ${String(error)}. Give another by CLAVIGER_DATA_DIR`,
    );
  }
  await closeToOthers(folder);
  const release = await takeLock(folder, { lock: file(NAMES.lock), holder: file(NAMES.holder) });
  return {
    databaseFolder: file(NAMES.database),
    rootSecretsFile: file(NAMES.rootSecrets),
    adminKeyFile: file(NAMES.adminKey),
    release,
  };
}

async function closeToOthers(folder: string): Promise<void> {
  const owner = await foreignOwner(folder);
  if (owner !== undefined) {
    throw new StartupError(
      `the data folder ${folder} belongs to another user (uid ${owner}), who could put other secrets and keys into it. Run \`chown\` on it, or give another folder by CLAVIGER_DATA_DIR`,
    );
  }
  for (const file of [NAMES.rootSecrets, NAMES.adminKey, NAMES.lock, NAMES.holder].map((name) => join(folder, name))) {
    if (existsSync(file) && (await accessOfOthers(file)) !== "none") await chmod(file, 0o600);
  }
  const access = await accessOfOthers(folder);
  if (access === "none") return;
  const refuse = (why: string) =>
    new StartupError(
      `other users can ${access === "write" ? "write to" : "enter"} the data folder ${folder}, and ${why}. Run \`chmod 700\` on it as its owner, or give another folder by CLAVIGER_DATA_DIR`,
    );
  // Not a user's home, or a folder of the machine: only a folder that holds nothing else.
  const foreign = (await readdir(folder)).find((name) => !OWN.has(name));
  if (foreign !== undefined) throw refuse(`it is not Claviger's alone: it holds ${foreign}`);
  try {
    await chmod(folder, 0o700);
  } catch (error) {
    // Its files are closed to others in any case; a folder that others can write to is not.
    if (access === "write") throw refuse(`its mode cannot be changed (${String(error)})`);
  }
}

async function takeLock(
  folder: string,
  files: { readonly lock: string; readonly holder: string },
): Promise<() => void> {
  // SQLite would make it readable for others. Not opened where it is there: closing it would drop a lock of this process.
  if (!existsSync(files.lock)) closeSync(openSync(files.lock, "a", 0o600));
  const lock = new DatabaseSync(files.lock, { timeout: 0 });
  try {
    lock.exec("BEGIN EXCLUSIVE");
  } catch (error) {
    lock.close();
    if (!isBusy(error)) throw error;
    const pid = (await readFile(files.holder, "utf8").catch(() => "")).trim();
    throw new StartupError(
      `the data folder ${folder} is held by process ${pid || "(just starting)"}. Stop that one, or give another folder by CLAVIGER_DATA_DIR`,
    );
  }
  await writeFile(files.holder, `${process.pid}\n`, { mode: 0o600 });
  return () => lock.close();
}

/** SQLite's code of a lock that another process holds; others are about the disk. */
const SQLITE_BUSY = 5;

function isBusy(error: unknown): boolean {
  return error instanceof Error && "errcode" in error && error.errcode === SQLITE_BUSY;
}

/** Reads the root secrets of the embedded database, made on the first start; the file is its owner's alone. */
export async function readOrMakeRootSecrets(file: string, random: Random): Promise<Secret> {
  const text = await readFile(file, "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined;
    throw error;
  });
  if (text !== undefined) return new Secret(text.trim());
  const made = Buffer.from(random(MIN_ROOT_BYTES)).toString("base64");
  await writeFile(`${file}.new`, `${made}\n`, { mode: 0o600, flush: true });
  await rename(`${file}.new`, file);
  return new Secret(made);
}

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
