import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, beforeEach, expect, it } from "vitest";
import { TEST_ROOT_SECRET } from "../../testkit/claviger.ts";
import { createTestDatabase, type TestDatabase } from "../../testkit/database.ts";
import { describeWithPostgres } from "../../testkit/describe-with.ts";
import { eventually } from "../../testkit/eventually.ts";
import type { Mutation } from "../../testkit/mutation.ts";
import { type StartServerOptions, startServer } from "../../testkit/server-process.ts";
import { starve } from "../../testkit/starve.ts";
import { createTcpProxy, type TcpProxy } from "../../testkit/tcp-proxy.ts";

const START_MS = 120_000;
/** Above the time that node-postgres gives a connection at the start. */
const FROZEN_MS = 6000;
/** Until a process that goes on has run the time-outs that are over. */
const RESUMED_MS = 1000;
const IMPATIENT = JSON.stringify({ postgres: { startPatienceMs: 1 } });

/** Connects while it loads, as starts once did. */
const CONNECTS_FIRST: Mutation = {
  file: "src/server/open/open-storage.ts",
  find: "await load?.();",
  replace: "setImmediate(() => load?.());",
};

/** Loading that keeps the thread busy for longer than a connection may take, on any machine. */
const LOADS_SLOWLY: Mutation = {
  file: "src/server/serve.ts",
  find: "const load = () => import",
  replace: `let wait = ${FROZEN_MS};
  const load = () => {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, wait);
    wait = 0;
    return loadRest();
  };
  const loadRest = () => import`,
};

describeWithPostgres("a start", () => {
  let database: TestDatabase;
  let proxy: TcpProxy;
  /** The database behind the proxy. */
  let url: URL;

  beforeAll(async () => {
    database = await createTestDatabase();
  });
  afterAll(() => database.drop());

  beforeEach(async () => {
    proxy = await createTcpProxy({ port: Number(new URL(database.url).port) });
    url = new URL(database.url);
    url.port = String(proxy.port);
    return () => proxy.close();
  });

  const env = (settings: Readonly<Record<string, string>>) => ({
    CLAVIGER_ROOT_SECRETS: TEST_ROOT_SECRET,
    CLAVIGER_LOG_LEVEL: "warn",
    DATABASE_URL: url.href,
    ...settings,
  });

  async function startStarved(share: number, options: StartServerOptions) {
    let starving: { stop(): void } | undefined;
    const onSpawn = (pid: number) => {
      starving = starve(pid, share);
    };
    try {
      const server = await startServer({ ...options, onSpawn, startMs: START_MS });
      starving?.stop();
      await server.stop();
    } finally {
      starving?.stop();
    }
  }

  it(
    "comes up with a tenth of a core at the first attempt",
    async () => {
      await startStarved(0.1, { env: env({ CLAVIGER_POLICY: IMPATIENT }) });
    },
    START_MS,
  );

  it(
    "comes up at the first attempt though it loads for longer than a connection may take",
    async () => {
      const server = await startServer({
        env: env({ CLAVIGER_POLICY: IMPATIENT }),
        mutate: [LOADS_SLOWLY],
        startMs: START_MS,
      });
      await server.stop();
    },
    START_MS,
  );

  it(
    "control: calls Postgres dead if it connects while it loads",
    async () => {
      const starting = startServer({
        env: env({ CLAVIGER_POLICY: IMPATIENT }),
        mutate: [LOADS_SLOWLY, CONNECTS_FIRST],
        startMs: START_MS,
      });
      await expect(starting).rejects.toThrow(/cannot use Postgres .*\(timeout expired\)/);
    },
    START_MS,
  );

  /** Stops the server for a while as soon as it has a connection to Postgres; its time-outs are over when it goes on. */
  async function startFrozen(settings: Readonly<Record<string, string>>) {
    proxy.hang();
    const frozen = Promise.withResolvers<void>();
    const freeze = async (pid: number) => {
      await eventually(() => expect(proxy.connectionCount()).toBeGreaterThan(0), { withinMs: START_MS });
      process.kill(pid, "SIGSTOP");
      await sleep(FROZEN_MS);
      process.kill(pid, "SIGCONT");
      // Not before: an answer that waits is sometimes read before the time-out that is over.
      await sleep(RESUMED_MS);
      await proxy.resume();
    };
    const onSpawn = (pid: number) => void freeze(pid).then(frozen.resolve, frozen.reject);
    const starting = startServer({ env: env(settings), startMs: START_MS, onSpawn });
    // A start that fails ends before the link is resumed, which must not be that of the next test.
    await Promise.allSettled([starting, frozen.promise]);
    const server = await starting;
    await frozen.promise;
    const said = server.stderr();
    await server.stop();
    return said;
  }

  it(
    "comes up though it was frozen for longer than a connection may take, and says that it tries again",
    async () => {
      expect(await startFrozen({})).toContain("cannot be used yet; the start goes on trying");
    },
    START_MS,
  );

  it(
    "control: ends with a time-out without patience",
    async () => {
      await expect(startFrozen({ CLAVIGER_POLICY: IMPATIENT })).rejects.toThrow(/\(timeout expired\)/);
    },
    START_MS,
  );

  it(
    "waits for a Postgres that is not there yet",
    async () => {
      await proxy.refuse();
      const onStderr = (text: string) => {
        if (text.includes("the start goes on trying")) void proxy.resume();
      };
      const server = await startServer({ env: env({}), startMs: START_MS, onStderr });
      expect(server.stderr()).toMatch(/"reason":"connect ECONNREFUSED .*the start goes on trying/);
      await server.stop();
    },
    START_MS,
  );

  it(
    "ends at once when it is stopped while it waits",
    async () => {
      proxy.hang();
      const stop = async (pid: number) => {
        await eventually(() => expect(proxy.connectionCount()).toBeGreaterThan(0), { withinMs: START_MS });
        await proxy.refuse();
        proxy.reset();
        process.kill(pid, "SIGTERM");
      };
      const policy = JSON.stringify({ postgres: { startPatienceMs: 10 * START_MS } });
      const starting = startServer({
        env: env({ CLAVIGER_POLICY: policy }),
        startMs: START_MS,
        onSpawn: (pid) => void stop(pid),
      });
      await expect(starting).rejects.toThrow(/ended with code 3[\s\S]*cannot use Postgres/);
    },
    START_MS,
  );

  it.each([
    ["an unknown database", { pathname: "/nowhere" }, /database "nowhere" does not exist/],
    ["an unknown role", { username: "nobody" }, /role "nobody" does not exist/],
    ["an unknown host", { hostname: "nowhere.invalid" }, /ENOTFOUND|EAI_AGAIN/],
  ])(
    "refuses %s without trying again",
    async (_what, part, reason) => {
      Object.assign(url, part);
      const failed = startServer({ env: env({}), startMs: START_MS });
      await expect(failed).rejects.toThrow(reason);
      await expect(failed).rejects.not.toThrow(/goes on trying/);
    },
    START_MS,
  );
});
