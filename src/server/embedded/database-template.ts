import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

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
