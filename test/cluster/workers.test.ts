import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Verdict } from "#gen/claviger/v1/key_verifier_pb.js";
import { bootstrapAdmin } from "../../src/server/bootstrap.ts";
import { loadConfig } from "../../src/server/config/config.ts";
import { type Clients, connect, TEST_ROOT_SECRET } from "../../testkit/claviger.ts";
import { createTestDatabase, type TestDatabase } from "../../testkit/database.ts";
import { describeWithPostgres } from "../../testkit/describe-with.ts";
import { eventually } from "../../testkit/eventually.ts";
import type { Mutation } from "../../testkit/mutation.ts";
import { outputOf } from "../../testkit/run-program.ts";
import { type ServerProcess, startServer } from "../../testkit/server-process.ts";
import { makeKey } from "../rpc/make-key.ts";
import { holdLock } from "./held-lock.ts";

const BIN = fileURLToPath(new URL("../../bin/claviger.js", import.meta.url));
const WORKERS = 2;
const VALID_COUNT = 'claviger_verifications_total{verdict="valid",lane="fast"}';
/** More connections than workers: they are handed round, so that each worker has some. */
const CONNECTIONS = 6;

/** The control: OK as soon as the change is committed and this process obeys. */
const WITHOUT_BARRIER: Mutation = {
  file: "src/revocation/judge.ts",
  find: "if (silent.length > 0 && leftMs > 0)",
  replace: "if (silent.length > 99)",
};
/** … and nobody hears of it before a renewal. */
const WITHOUT_PUSH: Mutation = {
  file: "src/revocation/feed.ts",
  find: "    options.bus.onChange((change) => this.#applyPush(change));",
  replace: "    options.bus.onChange(() => undefined);",
};

describeWithPostgres("workers", () => {
  let database: TestDatabase;
  let env: Record<string, string>;
  let token: string;
  let server: ServerProcess;

  beforeAll(async () => {
    database = await createTestDatabase();
    env = { DATABASE_URL: database.url, CLAVIGER_ROOT_SECRETS: TEST_ROOT_SECRET, CLAVIGER_WORKERS: String(WORKERS) };
    token = (await bootstrapAdmin(await loadConfig({ ...env, CLAVIGER_LOG_LEVEL: "silent" }))).secret.reveal();
  });
  afterAll(async () => {
    await server?.stop();
    await database?.drop();
  });

  const startWith = async (more: Record<string, string>, mutate: readonly Mutation[]) => {
    server = await startServer({ env: { ...env, ...more }, ...(mutate.length > 0 ? { mutate } : {}) });
  };
  const start = () => startWith({}, []);
  const clients = () => connect(server.url, token);
  const several = () => Array.from({ length: CONNECTIONS }, clients);
  const verdicts = (of: readonly Clients[], secret: string) =>
    Promise.all(of.map(async ({ verifier }) => (await verifier.verify({ secret })).verdict));
  const metric = async (name: string) => {
    const text = await (await fetch(`${server.url}/metrics`)).text();
    const [, value] = new RegExp(`^${name.replace(/[{}"]/g, "\\$&")} (\\S+)$`, "m").exec(text) ?? [];
    return Number(value);
  };
  const workerPids = () =>
    readFileSync(`/proc/${server.pid}/task/${server.pid}/children`, "utf8").trim().split(" ").map(Number);
  const nodes = async (): Promise<{ address: string; state: string }[]> =>
    JSON.parse(await outputOf(process.execPath, [BIN, "nodes", "--direct", "--json"], { env })).nodes;

  describe("of one server", () => {
    beforeAll(start, 60_000);

    it("serve one address, each with a lease of its own, and say so once", async () => {
      expect(server.stdout().match(/listening on/g)).toHaveLength(1);
      expect(workerPids()).toHaveLength(WORKERS);
      expect(await metric('claviger_lease_state{state="leased"}')).toBe(WORKERS);
      const live = (await nodes()).filter(({ state }) => state === "NODE_STATE_LIVE");
      expect(live.map(({ address }) => address)).toEqual(Array(WORKERS).fill(server.url));
    });

    it("all refuse a key as soon as RevokeKey has returned", async () => {
      const { id, secret } = await makeKey(clients(), { owner: "all" });
      const connections = several();
      await verdicts(connections, secret);
      expect(await verdicts(connections, secret)).toEqual(Array(CONNECTIONS).fill(Verdict.VALID));
      await clients().keys.revokeKey({ keyId: id });
      expect(await verdicts([...connections, ...several()], secret)).toEqual(
        Array(2 * CONNECTIONS).fill(Verdict.REVOKED),
      );
    });

    it("count together, in the ledger and in the metrics, whichever of them is asked", async () => {
      const { id, secret } = await makeKey(clients(), { owner: "counted" });
      const before = await metric(VALID_COUNT);
      for (let round = 0; round < 10; round++) await verdicts(several(), secret);
      const total = 10 * CONNECTIONS;
      for (let scrape = 0; scrape < 2 * WORKERS; scrape++) {
        expect(await metric(VALID_COUNT)).toBe(before + total);
      }
      const counted = async () => {
        const { keys } = clients();
        const now = Date.now();
        const span = { startTime: timestampFromMs(now - 3_600_000), endTime: timestampFromMs(now + 3_600_000) };
        return Number((await keys.queryUsage({ keyId: id, ...span })).total);
      };
      await eventually(async () => expect(await counted()).toBe(total));
    });

    it("one that is killed is replaced, while the others answer", async () => {
      const { secret } = await makeKey(clients(), { owner: "killed" });
      const [victim] = workerPids();
      process.kill(victim as number, "SIGKILL");
      // Until its end is noticed it is still handed connections, and those are lost with it.
      await eventually(() => expect(server.stderr()).toMatch(/"event":"worker".*a worker ended, and is replaced/));
      expect(await verdicts(Array.from({ length: 20 }, clients), secret)).toEqual(Array(20).fill(Verdict.VALID));
      await eventually(() => {
        expect(workerPids()).toHaveLength(WORKERS);
        expect(workerPids()).not.toContain(victim);
      });
      await eventually(async () => expect(await metric('claviger_lease_state{state="leased"}')).toBe(WORKERS));
    });

    it("end together when told to, after the calls under way, and take themselves off the registry", async () => {
      const { id } = await makeKey(clients(), { owner: "drained" });
      const pids = workerPids();
      const lock = await holdLock(database.url, (sql) => sql`select from api_key where id = ${id} for update`);
      const revoked = Promise.all(several().map(({ keys }) => keys.revokeKey({ keyId: id })));
      // Of one key, management lets two at a time to the database, and keeps the others waiting in the process.
      await lock.waiters(2);
      const stopped = server.stop();
      await sleep(100);
      await lock.release();
      expect(await revoked).toHaveLength(CONNECTIONS);
      expect(await stopped).toBe(0);
      for (const pid of pids) expect(() => process.kill(pid, 0)).toThrow("ESRCH");
      expect(
        (await nodes()).filter(({ address, state }) => address === server.url && state === "NODE_STATE_LIVE"),
      ).toEqual([]);
    });
  });

  it("without the barrier and the push, another worker goes on accepting it", async () => {
    await server.stop();
    await startWith({ CLAVIGER_LEASE_MS: "20000" }, [WITHOUT_BARRIER, WITHOUT_PUSH]);
    const { id, secret } = await makeKey(clients(), { owner: "control" });
    const connections = several();
    await verdicts(connections, secret);
    await clients().keys.revokeKey({ keyId: id });
    expect(await verdicts(connections, secret)).toContain(Verdict.VALID);
  });

  it("end as a whole when one can not start, with one line that says why, and do not outlive who keeps them", async () => {
    await server.stop();
    await start();
    const second = startServer({ env: { ...env, CLAVIGER_LISTEN: `127.0.0.1:${server.port}` } });
    const output = await second.then(
      () => "",
      (error: Error) => error.message,
    );
    expect(output).toMatch(/ended with code 3/);
    expect(output.match(/cannot listen on/g)).toHaveLength(1);
    const pids = workerPids();
    await server.kill("SIGKILL");
    await eventually(() => {
      for (const pid of pids) expect(() => process.kill(pid, 0)).toThrow("ESRCH");
    });
  });
});
