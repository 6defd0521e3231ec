import { cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, inject } from "vitest";
import type { Storage } from "../src/postgres/storage.ts";
import { createAdminKey } from "../src/server/bootstrap.ts";
import { createManageDeps } from "../src/server/compose.ts";
import { loadConfig } from "../src/server/config/config.ts";
import { openLog } from "../src/server/observe/logger.ts";
import { openStorage } from "../src/server/open/open-storage.ts";
import { runServer } from "../src/server/run-server.ts";
import { type Clients, connect } from "./connect.ts";
import { createTestDatabase } from "./database.ts";
import { describeWithPostgres } from "./describe-with.ts";

export type StorageKind = "embedded" | "postgres";

/** A root secret for tests, 32 zero bytes in base64. */
export const TEST_ROOT_SECRET = Buffer.alloc(32).toString("base64");

/** A whole server in this process, spoken to over gRPC. */
export interface TestClaviger {
  readonly url: string;
  readonly adminToken: string;
  readonly admin: Clients;
  /** Calls with that secret as the credential; without one if undefined. */
  as(token: string | undefined): Clients;
  /** With Postgres: where the database is, as its owner. */
  readonly databaseUrl: string | undefined;
  /** For moving a row's dates; everything else goes over the wire. */
  readonly storage: Storage;
  close(): Promise<void>;
}

/** Starts a server on a free port, on a folder or database of its own. `settings` are environment variables. */
export async function startClaviger(
  kind: StorageKind,
  settings: Readonly<Record<string, string>> = {},
): Promise<TestClaviger> {
  const place = await (kind === "embedded" ? temporaryFolder() : temporaryDatabase());
  // A short lease, so that the server soon sees what a test writes into the database. Counts are never flushed, so that
  // they do not show on keys that a test compares; tests of usage override that.
  const policy = JSON.stringify({ usage: { flushMs: 1_000_000_000 } });
  const quick = {
    CLAVIGER_POLICY: policy,
    CLAVIGER_LISTEN: "127.0.0.1:0",
    CLAVIGER_LOG_LEVEL: "silent",
    CLAVIGER_LEASE_MS: "400",
  };
  const environment = { ...quick, ...place.settings, ...settings };
  const config = await loadConfig(environment);
  const opened = await openStorage(config);
  const parts = { config, opened, ...openLog(config.logLevel) };
  const adminToken = (await createAdminKey(createManageDeps(parts))).secret.reveal();
  const server = await runServer(
    { announce: () => undefined, version: "test", command: "claviger", isTerminal: true },
    parts,
  );
  return {
    url: server.url,
    adminToken,
    admin: connect(server.url, adminToken),
    as: (token) => connect(server.url, token),
    storage: opened.storage,
    databaseUrl: place.settings.DATABASE_URL,
    close: async () => {
      await server.close();
      await place.remove();
    },
  };
}

/** Runs the suite once on PGlite and once on Postgres, each with one server for all its cases. */
export function describeOnEachStorage(
  name: string,
  body: (claviger: () => TestClaviger, kind: StorageKind) => void,
  settings: Readonly<Record<string, string>> = {},
): void {
  const suite = (kind: StorageKind) => () => {
    let running: TestClaviger | undefined;
    beforeAll(async () => {
      running = await startClaviger(kind, settings);
    });
    afterAll(() => running?.close());
    body(() => {
      if (running === undefined) throw new Error("the server is up only inside tests");
      return running;
    }, kind);
  };
  describe(`${name} (PGlite)`, suite("embedded"));
  describeWithPostgres(`${name} (Postgres)`, suite("postgres"));
}

async function temporaryFolder() {
  const folder = await mkdtemp(join(tmpdir(), "claviger-"));
  await cp(inject("embedded").template, join(folder, "database"), { recursive: true });
  return {
    settings: { CLAVIGER_DATA_DIR: folder } as Record<string, string>,
    remove: () => rm(folder, { recursive: true, force: true }),
  };
}

async function temporaryDatabase() {
  const database = await createTestDatabase();
  return {
    settings: { DATABASE_URL: database.url, CLAVIGER_ROOT_SECRETS: TEST_ROOT_SECRET } as Record<string, string>,
    remove: () => database.drop(),
  };
}

export { type Clients, connect } from "./connect.ts";
