import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { connectPostgres } from "../../src/postgres/connect/postgres-connection.ts";
import { Route } from "../../src/postgres/connect/route.ts";
import { readRevision } from "../../src/postgres/revisions.ts";
import { Storage } from "../../src/postgres/storage.ts";
import { DEFAULT_POLICY } from "../../src/server/config/policy.ts";
import { createTestDatabase, type TestDatabase } from "../../testkit/database.ts";
import { describeWithPostgres } from "../../testkit/describe-with.ts";
import { eventually } from "../../testkit/eventually.ts";
import { freePort } from "../../testkit/free-port.ts";
import { createTcpProxy, type TcpProxy } from "../../testkit/tcp-proxy.ts";

const POOL = 4;
const TIMEOUT_MS = 1000;

describeWithPostgres("Several hosts in DATABASE_URL", () => {
  let database: TestDatabase;
  let proxies: readonly [TcpProxy, TcpProxy];
  let storage: Storage;

  beforeAll(async () => {
    database = await createTestDatabase();
    const port = Number(new URL(database.url).port);
    proxies = [await createTcpProxy({ port }), await createTcpProxy({ port })];
  });
  afterEach(async () => {
    await storage?.close();
    for (const proxy of proxies) await proxy.resume();
  });
  afterAll(async () => {
    await Promise.all((proxies ?? []).map((proxy) => proxy.close()));
    await database?.drop();
  });

  function open(ports: readonly number[], { remembers = true } = {}): Storage {
    const { username, pathname } = new URL(database.url);
    const hosts = ports.map((port) => `127.0.0.1:${port}`).join(",");
    const url = `postgres://${username}@${hosts}${pathname}?target_session_attrs=read-write`;
    const memory = remembers ? { route: new Route(url) } : {};
    const limits = { ...DEFAULT_POLICY.postgres, poolSize: POOL, storageTimeoutMs: TIMEOUT_MS };
    const connect = () => connectPostgres({ ...limits, url, role: undefined, ...memory });
    storage = new Storage({ connect, timeoutMs: 20_000 });
    return storage;
  }
  const readAtOnce = (count: number) =>
    Promise.allSettled(Array.from({ length: count }, () => storage.read(readRevision)));
  const outcomes = (settled: readonly PromiseSettledResult<number>[]) => new Set(settled.map(({ status }) => status));

  it("are tried in their order, past one that refuses", async () => {
    const [first, second] = proxies;
    open([await freePort(), first.port, second.port]);
    expect(outcomes(await readAtOnce(20))).toEqual(new Set(["fulfilled"]));
    expect([first.connectionCount(), second.connectionCount()]).toEqual([POOL, 0]);
  });

  /** How many connections try a host that hangs, of those that are made after it was found to hang. */
  async function triedAgain(options: { readonly remembers?: boolean }): Promise<number> {
    const [hanging, well] = proxies;
    hanging.hang();
    open([hanging.port, well.port], options);
    expect(outcomes(await readAtOnce(POOL))).toEqual(new Set(["fulfilled"]));
    // A proxy that hangs goes on counting what has tried it.
    const tried = hanging.connectionCount();
    storage.reconnect();
    expect(outcomes(await readAtOnce(POOL))).toEqual(new Set(["fulfilled"]));
    return hanging.connectionCount() - tried;
  }

  it("wait for one that hangs once, and for none of the connections after it", async () => {
    expect(await triedAgain({})).toBe(0);
  });

  it("control: without the memory of which one answered, they wait again", async () => {
    expect(await triedAgain({ remembers: false })).toBeGreaterThan(0);
  });

  it("are changed when the one in use is lost, and changed back", async () => {
    const [first, second] = proxies;
    open([first.port, second.port]);
    await storage.read(readRevision);
    for (const [lost, other] of [
      [first, second],
      [second, first],
    ] as const) {
      await other.resume();
      await lost.refuse();
      lost.reset();
      await eventually(() => storage.read(readRevision));
      expect(other.connectionCount()).toBeGreaterThan(0);
    }
  });

  it("that all refuse fail each read at once, with few attempts, and are found again when one is back", async () => {
    const [first, second] = proxies;
    open([first.port, second.port]);
    await Promise.all(proxies.map((proxy) => proxy.refuse()));
    for (let round = 0; round < 50; round++) {
      expect(outcomes(await readAtOnce(20))).toEqual(new Set(["rejected"]));
    }
    await second.resume();
    await eventually(() => storage.read(readRevision));
    expect(outcomes(await readAtOnce(20))).toEqual(new Set(["fulfilled"]));
  });
});
