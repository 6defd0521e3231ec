import { expect, it } from "vitest";
import { bootstrapAdmin } from "../../src/server/bootstrap.ts";
import { loadConfig } from "../../src/server/config/config.ts";
import { connect, TEST_ROOT_SECRET } from "../../testkit/claviger.ts";
import { createTestDatabase } from "../../testkit/database.ts";
import { describeWithPostgres } from "../../testkit/describe-with.ts";
import { refusalOf } from "../../testkit/refusal.ts";
import { startServer } from "../../testkit/server-process.ts";
import { makeKey } from "../rpc/make-key.ts";

describeWithPostgres("denials that are only counted", () => {
  it("stand in the audit log as one event with their number, once the server has stopped", async () => {
    const database = await createTestDatabase();
    const env = { DATABASE_URL: database.url, CLAVIGER_ROOT_SECRETS: TEST_ROOT_SECRET, CLAVIGER_LOG_LEVEL: "error" };
    const token = (await bootstrapAdmin(await loadConfig(env))).secret.reveal();
    const first = await startServer({ env });
    const caller = await makeKey(connect(first.url, token), { owner: "denied", scopes: ["claviger:verify"] });
    const { keys } = connect(first.url, caller.secret);
    for (let turn = 0; turn < 3; turn++) await refusalOf(keys.listKeys({}));
    await refusalOf(keys.getKey({ keyId: caller.id }));
    await first.stop();

    const second = await startServer({ env });
    const { events } = await connect(second.url, token).keys.listAuditEvents({ actor: caller.id });
    await second.stop();
    await database.drop();
    expect(events.map(({ details }) => details).reverse()).toEqual([
      { method: "ListKeys", reason: "PERMISSION_DENIED" },
      { methods: ["ListKeys", "GetKey"], count: 3, reason: "PERMISSION_DENIED" },
    ]);
  });
});
