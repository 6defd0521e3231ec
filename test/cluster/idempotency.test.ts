import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { bootstrapAdmin } from "../../src/server/bootstrap.ts";
import { loadConfig } from "../../src/server/config/config.ts";
import { type Clients, connect, TEST_ROOT_SECRET } from "../../testkit/claviger.ts";
import { createTestDatabase, type TestDatabase } from "../../testkit/database.ts";
import { describeWithPostgres } from "../../testkit/describe-with.ts";
import type { Mutation } from "../../testkit/mutation.ts";
import { type Refusal, refusalOf } from "../../testkit/refusal.ts";
import { type ServerProcess, startServer } from "../../testkit/server-process.ts";
import { makeKey } from "../rpc/make-key.ts";
import { holdLock } from "./held-lock.ts";

const CALLS = 50;
const WITHOUT_CLAIM: readonly Mutation[] = [
  { file: "src/manage/steps/claim-request.ts", find: 'if (requestId === "") return;', replace: "if (now) return;" },
];

describeWithPostgres("a request id through several servers", () => {
  let database: TestDatabase;
  let env: Record<string, string>;
  let token: string;
  let servers: ServerProcess[];
  const clientsOf = (server: ServerProcess | undefined) => connect(server?.url ?? "", token);

  beforeAll(async () => {
    database = await createTestDatabase();
    env = { DATABASE_URL: database.url, CLAVIGER_ROOT_SECRETS: TEST_ROOT_SECRET, CLAVIGER_LOG_LEVEL: "silent" };
    token = (await bootstrapAdmin(await loadConfig(env))).secret.reveal();
    servers = await Promise.all([[], [], WITHOUT_CLAIM, WITHOUT_CLAIM].map((mutate) => startServer({ env, mutate })));
  });
  afterAll(async () => {
    await Promise.all(servers.map((server) => server.stop()));
    await database.drop();
  });

  /** The same call, again and again, through two servers, all at once. */
  async function callAtOnce(
    which: readonly (ServerProcess | undefined)[],
    call: (clients: Clients) => Promise<unknown>,
  ) {
    const clients = which.map(clientsOf);
    const outcomes = await Promise.all(
      Array.from({ length: CALLS }, (_, index) => {
        const answer = call(clients[index % clients.length] ?? clientsOf(undefined));
        return answer.then(
          () => "done" as const,
          () => refusalOf(answer),
        );
      }),
    );
    const refusals = outcomes.filter((outcome): outcome is Refusal => outcome !== "done");
    return { done: outcomes.length - refusals.length, refusals };
  }

  const create = (owner: string, requestId: string) => (clients: Clients) =>
    clients.keys.createKey({ owner, displayName: "k", requestId });
  const keysOf = async (owner: string) => (await clientsOf(servers[0]).keys.listKeys({ owner })).keys;

  it(`makes one key of ${CALLS} concurrent creates, and the others name that key`, async () => {
    const { done, refusals } = await callAtOnce(servers.slice(0, 2), create("once", randomUUID()));
    const keys = await keysOf("once");
    expect(keys).toHaveLength(1);
    expect(done).toBe(1);
    const expected = { code: "AlreadyExists", reason: "REQUEST_ALREADY_DONE", metadata: { key_id: keys[0]?.id } };
    expect(refusals).toHaveLength(CALLS - 1);
    for (const refusal of refusals) expect(refusal).toMatchObject(expected);
  });

  it("control: without the claim, the same creates make more keys", async () => {
    const { done } = await callAtOnce(servers.slice(2), create("unclaimed", randomUUID()));
    expect(done).toBeGreaterThan(1);
  });

  it(`makes one version of ${CALLS} concurrent rotations, and the others name that version`, async () => {
    const { id: keyId } = await makeKey(clientsOf(servers[0]), { owner: "rotate-once" });
    const request = { keyId, requestId: randomUUID() };
    const { done, refusals } = await callAtOnce(servers.slice(0, 2), ({ keys }) => keys.rotateKey(request));
    expect(done).toBe(1);
    for (const refusal of refusals) {
      expect(refusal).toMatchObject({
        reason: "REQUEST_ALREADY_DONE",
        metadata: { key_id: keyId, version: "2" },
      });
    }
    expect((await keysOf("rotate-once"))[0]?.secrets.map(({ version }) => version)).toEqual([2, 1]);
  });

  it("makes one key of creates for different owners, and refuses the other's payload", async () => {
    const requestId = randomUUID();
    const owners = Array.from({ length: CALLS }, (_, index) => `owner-${index}`);
    const { done, refusals } = await callAtOnce(servers.slice(0, 2), (clients) =>
      create(owners.pop() ?? "", requestId)(clients),
    );
    expect(done).toBe(1);
    expect(new Set(refusals.map(({ reason }) => reason))).toEqual(new Set(["REQUEST_ID_REUSED"]));
  });

  describe("whose first server is killed", () => {
    it("in the middle, has made nothing, and a retry through another makes one key", async () => {
      const owner = "killed-before";
      const requestId = randomUUID();
      const killed = await startServer({ env });
      const lock = await holdLock(database.url, (sql) => sql`lock table done_request in share mode`);
      try {
        const lost = create(owner, requestId)(clientsOf(killed)).catch(() => "lost");
        await lock.waiters(1);
        const retry = create(owner, requestId)(clientsOf(servers[0]));
        await lock.waiters(2);
        await killed.kill("SIGKILL");
        await lock.release();
        expect(await lost).toBe("lost");
        const { key } = await retry;
        expect((await keysOf(owner)).map(({ id }) => id)).toEqual([key?.id]);
      } finally {
        await lock.release();
        await killed.kill("SIGKILL");
      }
    });

    it("while its last statements wait, may have made the key, and a retry through another makes it or names it", async () => {
      const owner = "killed-beside";
      const requestId = randomUUID();
      const killed = await startServer({ env });
      // CreateKey writes to the audit log last, in the round trip of its COMMIT.
      const lock = await holdLock(database.url, (sql) => sql`lock table audit_event in share mode`);
      try {
        const lost = create(owner, requestId)(clientsOf(killed)).catch(() => "lost");
        await lock.waiters(1);
        const retry = create(owner, requestId)(clientsOf(servers[0]));
        const named = retry.then(
          ({ key }) => key?.id,
          async () => (await refusalOf(retry)).metadata.key_id,
        );
        await lock.waiters(2);
        await killed.kill("SIGKILL");
        await lock.release();
        expect(await lost).toBe("lost");
        expect((await keysOf(owner)).map(({ id }) => id)).toEqual([await named]);
      } finally {
        await lock.release();
        await killed.kill("SIGKILL");
      }
    });

    it("at any moment, leaves a request that is done or none, and a retry converges to one key each", async () => {
      const killed = await startServer({ env });
      const requests = Array.from({ length: 40 }, (_, index) => ({
        owner: `any-${index % 8}`,
        requestId: randomUUID(),
      }));
      const clients = clientsOf(killed);
      let answered = 0;
      const received = requests.map(({ owner, requestId }) =>
        create(
          owner,
          requestId,
        )(clients).then(
          ({ key }) => {
            answered++;
            if (answered === 10) void killed.kill("SIGKILL");
            return key?.id;
          },
          () => undefined,
        ),
      );
      const first = await Promise.all(received);
      await killed.kill("SIGKILL");
      expect(first.filter((id) => id === undefined).length).toBeGreaterThan(0);

      const settled = await Promise.all(
        requests.map(async ({ owner, requestId }) => {
          const retry = create(owner, requestId)(clientsOf(servers[0]));
          return retry.then(
            ({ key }) => key?.id,
            async () => (await refusalOf(retry)).metadata.key_id,
          );
        }),
      );
      first.forEach((id, index) => {
        if (id !== undefined) expect(settled[index]).toBe(id);
      });
      const keys = await Promise.all(Array.from({ length: 8 }, (_, index) => keysOf(`any-${index}`)));
      expect(new Set(keys.flat().map(({ id }) => id))).toEqual(new Set(settled));
      expect(new Set(settled).size).toBe(requests.length);
    });
  });
});
