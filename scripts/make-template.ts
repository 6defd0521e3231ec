/**
 * `node scripts/make-template.ts`: creates the database that first starts copy, once for each version of the schema.
 */
import { existsSync } from "node:fs";
import { mkdir, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { disown } from "../src/postgres/migrate/migrate-embedded.ts";
import { createDatabase, templateFolder } from "../src/server/embedded/create-database.ts";

const folder = templateFolder();
if (!existsSync(folder)) {
  await mkdir(dirname(folder), { recursive: true });
  const unfinished = `${folder}.${process.pid}`;
  try {
    await createDatabase(unfinished, disown);
    await rename(unfinished, folder);
  } finally {
    await rm(unfinished, { recursive: true, force: true });
  }
}
