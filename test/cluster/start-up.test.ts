import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, inject, it } from "vitest";
import { TEST_ROOT_SECRET } from "../../testkit/claviger.ts";
import { createTestDatabase } from "../../testkit/database.ts";
import { describeWithPostgres } from "../../testkit/describe-with.ts";
import { startServer } from "../../testkit/server-process.ts";

describeWithPostgres("a start whose port is taken", () => {
  it("says so and what to do, and ends with 3 though it watches a flags file and is connected to Redis", async () => {
    const database = await createTestDatabase();
    const redis = inject("redis");
    const folder = await mkdtemp(join(tmpdir(), "claviger-start-"));
    const flags = join(folder, "flags.json");
    await writeFile(flags, '{"enable-api-key-management": "on"}');
    const env = {
      DATABASE_URL: database.url,
      CLAVIGER_ROOT_SECRETS: TEST_ROOT_SECRET,
      CLAVIGER_FLAGS_FILE: flags,
      CLAVIGER_LOG_LEVEL: "silent",
      ...(redis === undefined ? {} : { REDIS_URL: redis.url }),
    };
    const first = await startServer({ env });
    try {
      const second = startServer({ env, args: ["--listen", `127.0.0.1:${first.port}`] });
      await expect(second).rejects.toThrow(/ended with code 3[\s\S]*another program listens there: stop it/);
      await expect(second).rejects.not.toThrow(/a defect/);
    } finally {
      await first.stop();
      await database.drop();
      await rm(folder, { recursive: true });
    }
  });
});
