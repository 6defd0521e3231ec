import { PGlite, type Transaction } from "@electric-sql/pglite";
import { drizzle } from "drizzle-orm/pglite";
import { explainAborted, unheard } from "../errors.ts";
import { Ending } from "../statements.ts";
import type { Connection, Database, TransactionWork } from "../storage.ts";
import { observeErrors } from "./first-error.ts";
import { sessionStatements } from "./session.ts";

/** The embedded Postgres, whose only session is its own. */
export interface EmbeddedConnection extends Connection {
  readonly database: Database;
  /** A tar archive of the folder as a crash at this moment would leave it; whatever has committed is in it. */
  dump(): Promise<Blob>;
}

/** Opens the embedded Postgres (WASM) in a folder, made if it is missing. The caller holds the folder's lock. */
export async function openPglite(folder: string): Promise<EmbeddedConnection> {
  const client = await PGlite.create(folder);
  await client.exec(sessionStatements());
  const database = drizzle(client);
  return {
    database,
    read: (work) => work(database),
    transaction: (work) => client.transaction((transaction) => inTransaction(transaction, work)),
    write: (work) => work(database),
    probe: () => client.query("select 1"),
    // Not compressed, which would keep queries waiting.
    dump: () => client.dumpDataDir("none"),
    close: () => client.close(),
    // It is the only one, and has no network to hang on.
    abandon: () => undefined,
  };
}

/** Rejects, as on Postgres, with the error that broke the transaction, even if no caller handled it. */
async function inTransaction<T>(transaction: Transaction, work: TransactionWork<T>): Promise<T> {
  const { observed, firstError } = observeErrors(transaction);
  const result = await conclude(work(drizzle(observed as unknown as PGlite))).catch((error: unknown) => {
    throw explainAborted(error, firstError());
  });
  if (firstError() !== undefined) throw unheard(firstError());
  return result;
}

async function conclude<T>(work: Promise<T | Ending<T>>): Promise<T> {
  const result = await work;
  if (!(result instanceof Ending)) return result;
  return result.conclude(await Promise.all(result.statements.map((statement) => statement.send())));
}
