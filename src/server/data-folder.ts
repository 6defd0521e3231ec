import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { StartupError } from "./startup-error.ts";

/** The folder of the embedded database, held by this process alone. */
export interface DataFolder {
  readonly databaseFolder: string;
  readonly rootSecretsFile: string;
  readonly adminKeyFile: string;
  release(): void;
}

/**
 * Takes the folder, made if it is missing. PGlite takes no lock of its own, and what a second opener acknowledges
 * vanishes. The lock is SQLite's on an otherwise unused file: the kernel drops it when its holder dies, however it
 * dies, so a stale lock cannot be, and no look at process ids can be wrong.
 *
 * @throws StartupError with the holder's process id when another process holds it, or if it cannot be made.
 */
export async function holdDataFolder(folder: string): Promise<DataFolder> {
  const file = (name: string) => join(folder, name);
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw new StartupError(
      `cannot make the data folder ${folder}: ${String(error)}. Give another by CLAVIGER_DATA_DIR`,
    );
  }
  const release = await takeLock(folder, { lock: file("lock"), holder: file("holder") });
  return {
    databaseFolder: file("database"),
    rootSecretsFile: file("root-secrets"),
    adminKeyFile: file("admin-key"),
    release,
  };
}

async function takeLock(
  folder: string,
  files: { readonly lock: string; readonly holder: string },
): Promise<() => void> {
  const lock = new DatabaseSync(files.lock, { timeout: 0 });
  try {
    lock.exec("BEGIN EXCLUSIVE");
  } catch {
    lock.close();
    const pid = (await readFile(files.holder, "utf8").catch(() => "")).trim();
    throw new StartupError(
      `the data folder ${folder} is held by process ${pid || "(just starting)"}. Stop that one, or give another folder by CLAVIGER_DATA_DIR`,
    );
  }
  await writeFile(files.holder, `${process.pid}\n`);
  return () => lock.close();
}
