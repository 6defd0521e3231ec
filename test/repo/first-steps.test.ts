import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { TEST_ROOT_SECRET } from "../../testkit/claviger.ts";
import { createTestDatabase } from "../../testkit/database.ts";
import { describeWithPostgres } from "../../testkit/describe-with.ts";
import { startServer } from "../../testkit/server-process.ts";
import { openTerminal } from "./terminal.ts";

const TEST_MS = 120_000;

describe("a start on the embedded database without a terminal", { timeout: TEST_MS }, () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "claviger-first-steps-"));
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  /** The file that the printed `export` line reads, if it reads one. */
  async function startOnce(): Promise<{ out: string; file: string | undefined }> {
    const server = await startServer({ cwd: folder });
    await server.stop();
    const [, file] = /CLAVIGER_TOKEN="\$\(cat (.*)\)"/.exec(server.stdout()) ?? [];
    return { out: server.stdout(), file };
  }

  it("prints a command that reads the admin key only while the file with the key is there", async () => {
    const first = await startOnce();
    expect(first.out).toMatch(/^admin key: clv_live_/m);
    expect(existsSync(join(folder, first.file ?? "none"))).toBe(true);
    expect((await startOnce()).file).toBe(first.file);

    // As after a first start in a terminal, which writes no file.
    await rm(join(folder, first.file ?? ""));
    const { out, file } = await startOnce();
    expect(file).toBeUndefined();
    expect(out).toContain("CLAVIGER_TOKEN=clv_live_…your-admin-key");
    expect(out).toMatch(/if the admin key is lost: stop this server, then make another with `\S+ bootstrap`/);
    await using terminal = await openTerminal(folder);
    const bin = join(import.meta.dirname, "../../bin/claviger.js");
    expect(await terminal.paste(`${bin} bootstrap`)).toMatch(/^admin key: clv_live_/);
  });
});

describeWithPostgres("a start on a database without an admin key", () => {
  it("says that bootstrap is due, until it was run", { timeout: TEST_MS }, async () => {
    const database = await createTestDatabase();
    const env = { DATABASE_URL: database.url, CLAVIGER_ROOT_SECRETS: TEST_ROOT_SECRET };
    const said = /there is no admin key yet: make one with `\S+ bootstrap`/;
    try {
      const first = await startServer({ env });
      await first.stop();
      expect(first.stdout()).toMatch(said);
      await using terminal = await openTerminal(tmpdir(), env);
      await terminal.paste(`${join(import.meta.dirname, "../../bin/claviger.js")} bootstrap`);
      const second = await startServer({ env });
      await second.stop();
      expect(second.stdout()).not.toMatch(said);
    } finally {
      await database.drop();
    }
  });
});
