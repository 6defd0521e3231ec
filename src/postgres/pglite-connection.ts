import { PGlite } from "@electric-sql/pglite";
import { drizzle } from "drizzle-orm/pglite";
import { sessionStatements } from "./session.ts";
import type { Connection, Database } from "./storage.ts";

/** The embedded Postgres, whose only session is its own. */
export interface EmbeddedConnection extends Connection {
  readonly database: Database;
}

/** Opens the embedded Postgres (WASM) in a folder, made if it is missing. The caller holds the folder's lock. */
export async function openPglite(folder: string): Promise<EmbeddedConnection> {
  const client = await PGlite.create(folder);
  await client.exec(sessionStatements());
  const database = drizzle(client);
  return {
    database,
    read: (work) => work(database),
    transaction: (work) => database.transaction(work),
    write: (work) => work(database),
    probe: () => client.query("select 1"),
    close: () => client.close(),
    // It is the only one, and has no network to hang on.
    abandon: () => undefined,
  };
}
