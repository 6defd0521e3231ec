import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { rename, rm } from "node:fs/promises";
import { migrateEmbedded } from "../postgres/migrate.ts";
import { openPglite } from "../postgres/pglite-connection.ts";
import { StartupError } from "./startup-error.ts";

/** Run by the child: the module and the folder are its arguments; it ends with its parent, whose end closes stdin. */
const CHILD = `
process.stdin.resume().on("end", () => process.exit(1));
const [module, folder] = process.argv.slice(1);
await (await import(module)).createDatabase(folder);
process.exit(0);
`;

/**
 * Makes the embedded database if the folder has none. In a process of its own, which takes the memory of it along:
 * 750 MB after making a database, 320 MB after opening one. Under another name until it is whole, so that a kill in
 * the middle leaves nothing that looks like a database.
 */
export async function ensureDatabase(folder: string): Promise<void> {
  if (existsSync(folder)) return;
  const unfinished = `${folder}.new`;
  await rm(unfinished, { recursive: true, force: true });
  const options = ["--no-warnings", "--input-type=module", "--eval", CHILD, import.meta.url, unfinished];
  const child = spawn(process.execPath, options, { stdio: ["pipe", "ignore", "pipe"] });
  let complaint = "";
  child.stderr.on("data", (chunk) => {
    complaint = (complaint + chunk).slice(-2000);
  });
  const [code] = await once(child, "close");
  if (code !== 0) {
    throw new StartupError(`cannot make the embedded database in ${folder}: ${complaint.trim()}. Is the disk full?`);
  }
  await rename(unfinished, folder);
}

/** Makes and closes the database; what `ensureDatabase` has its child do. */
export async function createDatabase(folder: string): Promise<void> {
  const connection = await openPglite(folder);
  await migrateEmbedded(connection.database);
  await connection.close();
}
