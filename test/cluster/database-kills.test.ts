import { setTimeout as sleep } from "node:timers/promises";
import { expect, it } from "vitest";
import { Verdict } from "#gen/claviger/v1/key_verifier_pb.js";
import { bootstrapAdmin } from "../../src/server/bootstrap.ts";
import { loadConfig } from "../../src/server/config/config.ts";
import { connect, TEST_ROOT_SECRET } from "../../testkit/claviger.ts";
import { describeWithPostgres } from "../../testkit/describe-with.ts";
import { eventually } from "../../testkit/eventually.ts";
import { startPostgresServer } from "../../testkit/postgres-server.ts";
import { startServer } from "../../testkit/server-process.ts";

const KILLS = 6;
const CALLERS = 16;

describeWithPostgres("a server under load whose Postgres is killed again and again", () => {
  it("lives on, gives no wrong verdict, and works again each time", async () => {
    const database = await startPostgresServer();
    const env = { DATABASE_URL: database.url, CLAVIGER_ROOT_SECRETS: TEST_ROOT_SECRET, CLAVIGER_LOG_LEVEL: "silent" };
    const token = (await bootstrapAdmin(await loadConfig(env))).secret.reveal();
    const server = await startServer({ env });
    const { keys, verifier } = connect(server.url, token);
    const verdicts = new Set<Verdict>();
    let owners = 0;
    let running = true;
    const repeat = async (call: () => Promise<unknown>) => {
      while (running) await call().catch(() => sleep(2));
    };
    const callers = Array.from({ length: CALLERS }, (_, index) =>
      index % 2 === 0
        ? repeat(async () => verdicts.add((await verifier.verify({ secret: token })).verdict))
        : repeat(() => keys.createKey({ owner: `kills-${owners++}`, displayName: "k" })),
    );
    try {
      for (let kill = 0; kill < KILLS; kill++) {
        await eventually(async () => expect((await verifier.verify({ secret: token })).verdict).toBe(Verdict.VALID));
        database.kill("SIGKILL");
        await sleep(300);
        await database.restart();
      }
      await eventually(async () => expect((await verifier.verify({ secret: token })).verdict).toBe(Verdict.VALID));
      expect([...verdicts]).toEqual([Verdict.VALID]);
    } finally {
      running = false;
      await Promise.all(callers);
      expect(await server.stop()).toBe(0);
      await database.stop();
    }
  });
});
