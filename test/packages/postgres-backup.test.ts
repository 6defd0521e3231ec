import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { sql } from "drizzle-orm";
import { afterAll, beforeAll, expect, it } from "vitest";
import { Verdict } from "#gen/claviger/v1/key_verifier_pb.js";
import { createKey } from "../../src/manage/create-key.ts";
import { databaseIdentity, isEarlierTimeline } from "../../src/postgres/revisions.ts";
import { createAdminKey } from "../../src/server/bootstrap.ts";
import { createManageDeps } from "../../src/server/compose.ts";
import { loadConfig } from "../../src/server/config/config.ts";
import { openLog } from "../../src/server/observe/logger.ts";
import { openStorage } from "../../src/server/open/open-storage.ts";
import { TEST_ROOT_SECRET } from "../../testkit/claviger.ts";
import { type Clients, connect } from "../../testkit/connect.ts";
import { createDatabase } from "../../testkit/database.ts";
import { describeWithStandby } from "../../testkit/describe-with.ts";
import { findPostgresBinaries } from "../../testkit/postgres-binaries.ts";
import { type PostgresServer, startPostgresServer } from "../../testkit/postgres-server.ts";
import { REPOSITORY } from "../../testkit/repository-copy.ts";
import { outputOf } from "../../testkit/run-program.ts";
import { type ServerProcess, startServer } from "../../testkit/server-process.ts";
import { blocksOf, readPage } from "../repo/pages.ts";

const KEYS = 10_000;
/** Secrets in one call of BatchVerify, and keys that are created at once. */
const BATCH = 100;

interface Kept {
  readonly keyId: string;
  readonly secret: string;
}

describeWithStandby("a backup of Postgres", () => {
  let folder: string;
  let source: PostgresServer;
  let base: PostgresServer;
  let fresh: PostgresServer;
  let keys: Kept[];
  let admin: Kept;
  /** Revoked before the backup, and after it. */
  let early: Kept;
  let late: Kept;

  const settingsOf = (databaseUrl: string) => ({ DATABASE_URL: databaseUrl, CLAVIGER_ROOT_SECRETS: TEST_ROOT_SECRET });
  let sourceUrl: string;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "claviger-dump-"));
    [source, fresh] = await Promise.all([startPostgresServer(), startPostgresServer()]);
    sourceUrl = (await createDatabase({ adminUrl: source.url })).url;
    [admin, keys] = await createKeys(sourceUrl);
    [early, late] = [keys[0] ?? admin, keys[1] ?? admin];

    const server = await startServer({ env: settingsOf(sourceUrl) });
    try {
      const { keys: management, verifier } = connect(server.url, admin.secret);
      await management.revokeKey({ keyId: early.keyId });
      expect(await verdictsOf(verifier)).toEqual(expectedVerdicts());
      const page = readPage(REPOSITORY, "docs/operate/backup.md");
      const [dump] = blocksOf(page, "Back up Postgres");
      [base] = await Promise.all([startPostgresServer({ restoreOf: source.url }), follow(dump?.text, sourceUrl)]);
      await base.promote();
      await management.revokeKey({ keyId: late.keyId });
      expect((await verifier.verify({ secret: late.secret })).verdict).toBe(Verdict.REVOKED);
    } finally {
      await server.stop();
    }
  });
  afterAll(async () => {
    await Promise.all([source, base, fresh].map((server) => server?.stop({ mode: "immediate" })));
    await rm(folder, { recursive: true, force: true });
  });

  /** Makes an admin key and 10,000 others by the server's own code, past the limits of callers. */
  async function createKeys(databaseUrl: string): Promise<[admin: Kept, keys: Kept[]]> {
    const config = await loadConfig({ ...settingsOf(databaseUrl), CLAVIGER_LOG_LEVEL: "silent" });
    const opened = await openStorage(config);
    try {
      const deps = createManageDeps({ config, opened, ...openLog(config.logLevel) });
      const { keyId, secret } = await createAdminKey(deps);
      const caller = { kind: "system", address: "", requestId: "" } as const;
      const create = async (number: number): Promise<Kept> => {
        const made = await createKey(deps, caller, {
          ...{ owner: `owner${Math.floor(number / 5)}`, displayName: `key ${number}`, environment: "live", scopes: [] },
          ...{ ttlMs: undefined, requestId: "", labels: {}, metadata: null, allowedCidrs: [], limits: null },
        });
        return { keyId: made.view.key.id, secret: made.secret.reveal() };
      };
      const made: Kept[] = [];
      while (made.length < KEYS) {
        const numbers = Array.from({ length: BATCH }, (_, index) => made.length + index);
        made.push(...(await Promise.all(numbers.map(create))));
      }
      return [{ keyId, secret: secret.reveal() }, made];
    } finally {
      await opened.close();
    }
  }

  const baseUrl = () => Object.assign(new URL(sourceUrl), { port: String(base.port) }).href;

  /** Asks for all keys over the port. */
  async function verdictsOf(verifier: Clients["verifier"]): Promise<Verdict[]> {
    const verdicts: Verdict[] = [];
    for (let from = 0; from < keys.length; from += BATCH) {
      const requests = keys.slice(from, from + BATCH).map(({ secret }) => ({ secret }));
      const { responses } = await verifier.batchVerify({ requests });
      verdicts.push(...responses.map(({ verdict }) => verdict));
    }
    return verdicts;
  }

  const expectedVerdicts = () => keys.map((key) => (key === early ? Verdict.REVOKED : Verdict.VALID));

  /** Runs commands of the page in the folder of the backup. */
  function follow(commands: string | undefined, databaseUrl: string): Promise<string> {
    const bin = `'${process.execPath}' '${join(REPOSITORY, "bin/claviger.js")}'`;
    return outputOf("sh", ["-ec", commands?.replaceAll("./bin/claviger.js", bin) ?? ""], {
      cwd: folder,
      env: { ...settingsOf(databaseUrl), PATH: `${findPostgresBinaries()}${delimiter}${process.env.PATH}` },
    });
  }

  /** All keys answer as at the backup, and a key that was revoked later does so until it is revoked again. */
  async function expectRestored(databaseUrl: string): Promise<void> {
    const server: ServerProcess = await startServer({ env: settingsOf(databaseUrl) });
    try {
      const { keys: management, verifier } = connect(server.url, admin.secret);
      expect(await verdictsOf(verifier)).toEqual(expectedVerdicts());
      await management.revokeKey({ keyId: late.keyId });
      expect((await verifier.verify({ secret: late.secret })).verdict).toBe(Verdict.REVOKED);
    } finally {
      await server.stop();
    }
  }

  it("by pg_dump, restored into a new server as the page says, answers for 10,000 keys as before", async () => {
    const database = await createDatabase({ adminUrl: fresh.url });
    await follow('psql --quiet --dbname="$DATABASE_URL" --command="create role claviger_app nologin"', database.url);
    const [restore] = blocksOf(readPage(REPOSITORY, "docs/operate/backup.md"), "Postgres");
    expect(await follow(restore?.text, database.url)).toContain("the audit log is intact");
    await expectRestored(database.url);
  });

  it("by pg_basebackup, started and promoted, answers for 10,000 keys as before", async () => {
    await expectRestored(baseUrl());
  });

  it("by pg_basebackup has a later timeline, so that its servers refuse the old database", async () => {
    const identityOf = async (url: string) => {
      const opened = await openStorage(await loadConfig({ ...settingsOf(url), CLAVIGER_LOG_LEVEL: "silent" }));
      try {
        const [row] = await opened.storage.read((database) =>
          database.select({ identity: databaseIdentity }).from(sql`(select 1) as one`),
        );
        return row?.identity ?? "";
      } finally {
        await opened.close();
      }
    };
    expect(isEarlierTimeline(await identityOf(sourceUrl), await identityOf(baseUrl()))).toBe(true);
  });
});
