import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { rename } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";
import { messageOf } from "../../keys/errors.ts";
import type { Database } from "../../postgres/storage.ts";
import { StartupError } from "../startup-error.ts";

/** Run by the child: the module and the folder are its arguments; it ends with its parent, whose end closes stdin. */
const CHILD = `
process.stdin.resume().on("end", () => process.exit(1));
const [module, folder] = process.argv.slice(1);
await (await import(module)).createDatabase(folder);
process.exit(0);
`;

const COPY = `
const { workerData } = require("node:worker_threads");
require("node:fs").cpSync(...workerData, { recursive: true });
`;

/**
 * Makes the embedded database if the folder has none: as a copy of the template where there is one. Under another name
 * until it is whole, so that a kill in the middle leaves nothing that looks like a database.
 */
export async function ensureDatabase(folder: string): Promise<void> {
  if (existsSync(folder)) return;
  const unfinished = `${folder}.new`;
  // At once, so that the copy has begun when the caller goes on.
  rmSync(unfinished, { recursive: true, force: true });
  const template = findTemplate();
  try {
    if (template === undefined) await createInChild(unfinished);
    else await copyInThread(template, unfinished);
  } catch (cause) {
    const reason = messageOf(cause);
    throw new StartupError(`cannot make the embedded database in ${folder}: ${reason}. Is the disk full?`, { cause });
  }
  await rename(unfinished, folder);
}

/** A thousand files: this thread loads modules meanwhile. */
async function copyInThread(template: string, folder: string): Promise<void> {
  await once(new Worker(COPY, { eval: true, workerData: [template, folder] }), "exit");
}

/** In a process of its own, which takes the memory of it along: 750 MB after making a database, 320 MB after opening one. */
async function createInChild(folder: string): Promise<void> {
  const options = ["--no-warnings", "--input-type=module", "--eval", CHILD, import.meta.url, folder];
  const child = spawn(process.execPath, options, { stdio: ["pipe", "ignore", "pipe"] });
  let complaint = "";
  child.stderr.on("data", (chunk) => {
    complaint = (complaint + chunk).slice(-2000);
  });
  const [code] = await once(child, "close");
  if (code !== 0) throw new Error(complaint.trim());
}

/** Makes and closes the database; what `ensureDatabase` has its child do. */
export async function createDatabase(
  folder: string,
  finish: (database: Database) => Promise<void> = async () => undefined,
): Promise<void> {
  const { migrateEmbedded } = await import("../../postgres/migrate/migrate-embedded.ts");
  const { openPglite } = await import("../../postgres/connect/pglite-connection.ts");
  const connection = await openPglite(folder);
  await migrateEmbedded(connection.database);
  await finish(connection.database);
  await connection.close();
}

/**
 * The folder of a database as `createDatabase` makes it, to be copied: Postgres' initdb takes seconds in WASM, a copy a
 * fraction of one. Its name says for which PGlite and which migrations; it need not exist.
 */
export function templateFolder(): string {
  const root = fileURLToPath(new URL("../../..", import.meta.url));
  const migrations = join(root, "migrations");
  const name = createHash("sha256").update(
    readFileSync(createRequire(import.meta.url).resolve("@electric-sql/pglite")),
  );
  for (const file of readdirSync(migrations).sort()) {
    if (file.endsWith(".sql")) name.update(readFileSync(join(migrations, file)));
  }
  return join(root, "node_modules", ".cache", "claviger", `database-${name.digest("hex").slice(0, 16)}`);
}

/** The template, if it exists. */
export function findTemplate(): string | undefined {
  const folder = templateFolder();
  return existsSync(folder) ? folder : undefined;
}
