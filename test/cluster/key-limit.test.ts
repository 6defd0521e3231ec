import { afterAll, beforeAll, expect, it } from "vitest";
import { bootstrapAdmin } from "../../src/server/bootstrap.ts";
import { loadConfig } from "../../src/server/config/config.ts";
import { connect, TEST_ROOT_SECRET } from "../../testkit/claviger.ts";
import { createTestDatabase, type TestDatabase } from "../../testkit/database.ts";
import { describeWithPostgres } from "../../testkit/describe-with.ts";
import type { Mutation } from "../../testkit/mutation.ts";
import { type Refusal, refusalOf } from "../../testkit/refusal.ts";
import { startServer } from "../../testkit/server-process.ts";

const CALLS = 200;

describeWithPostgres("the maximum of keys per owner", () => {
  let database: TestDatabase;
  let env: Record<string, string>;
  let token: string;

  beforeAll(async () => {
    database = await createTestDatabase();
    env = { DATABASE_URL: database.url, CLAVIGER_ROOT_SECRETS: TEST_ROOT_SECRET, CLAVIGER_LOG_LEVEL: "silent" };
    token = (await bootstrapAdmin(await loadConfig(env))).secret.reveal();
  });
  afterAll(() => database.drop());

  /** Creates for one owner, half through each of two server processes, all at once. */
  async function createAtOnce(owner: string, mutations: readonly Mutation[]) {
    const servers = await Promise.all([1, 2].map(() => startServer({ env, mutate: mutations })));
    try {
      const clients = servers.map((server) => connect(server.url, token));
      const outcomes = await Promise.all(
        Array.from({ length: CALLS }, async (_, index) => {
          const client = clients[index % clients.length];
          if (client === undefined) throw new Error("no client");
          const call = client.keys.createKey({ owner, displayName: `key ${index}` });
          return call.then(
            () => "created" as const,
            () => refusalOf(call),
          );
        }),
      );
      return {
        created: outcomes.filter((outcome) => outcome === "created").length,
        refusals: outcomes.filter((outcome): outcome is Refusal => outcome !== "created"),
      };
    } finally {
      await Promise.all(servers.map((server) => server.stop()));
    }
  }

  it("lets exactly 10 of 200 parallel creates through two servers succeed", async () => {
    const { created, refusals } = await createAtOnce("limit-held", []);
    const others = refusals.filter((refusal) => refusal.reason !== "KEY_LIMIT_REACHED" || !refusal.hasQuotaFailure);
    expect(others).toEqual([]);
    expect({ created, refused: refusals.length }).toEqual({ created: 10, refused: 190 });
  });

  it("control: without the lock on the owner, more than 10 succeed", async () => {
    const withoutLock = { file: "src/postgres/owners.ts", find: '.for("update")', replace: "" };
    // Management lets few creations for one owner to the database at a time, which hides the race, and does not end it.
    const withoutTurns = {
      file: "src/manage/bulkhead.ts",
      find: "bulkhead.storageFor(deps.storage, errand)",
      replace: "deps.storage",
    };
    const { created } = await createAtOnce("limit-broken", [withoutLock, withoutTurns]);
    expect(created).toBeGreaterThan(10);
  });
});
