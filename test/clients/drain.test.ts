import { once } from "node:events";
import { type ClientHttp2Session, connect as connectHttp2 } from "node:http2";
import { connect as connectTcp } from "node:net";
import postgres from "postgres";
import { afterEach, beforeEach, expect, it } from "vitest";
import { createTestDatabase, type TestDatabase } from "../../testkit/database.ts";
import { describeWithPostgres } from "../../testkit/describe-with.ts";
import { eventually } from "../../testkit/eventually.ts";
import { createGrpcJsClient } from "./grpc-js.ts";
import { createHealthClient } from "./health.ts";
import { type RunningServer, startOnPostgres } from "./running-server.ts";

const OWNER = "slow";

describeWithPostgres("a server that gets SIGTERM", () => {
  let database: TestDatabase;
  let server: RunningServer;
  let sql: postgres.Sql;

  beforeEach(async () => {
    database = await createTestDatabase();
    server = await startOnPostgres({ databaseUrl: database.url });
    sql = postgres(database.url, { onnotice: () => undefined });
  });
  afterEach(async () => {
    await sql.end({ timeout: 1 });
    await server.close();
    await database.drop();
  });

  /** Holds up every call that makes a key for `OWNER`, until released. */
  async function holdOwner(): Promise<{ release: () => Promise<void> }> {
    const client = createGrpcJsClient(server);
    await client.call("KeyManagement/CreateKey", { owner: OWNER, display_name: "first" });
    client.close();
    const held = Promise.withResolvers<void>();
    const released = Promise.withResolvers<void>();
    const transaction = sql.begin(async (holder) => {
      await holder`select 1 from key_owner where id = ${OWNER} for update`;
      held.resolve();
      await released.promise;
    });
    await Promise.race([held.promise, transaction]);
    return {
      release: async () => {
        released.resolve();
        await transaction;
      },
    };
  }

  async function callsHeldUp(): Promise<number> {
    const [row] = await sql<{ count: number }[]>`select count(*)::int as count from pg_stat_activity
      where datname = current_database() and wait_event_type = 'Lock'`;
    return row?.count ?? 0;
  }

  function openSession(): Promise<ClientHttp2Session> {
    const session = connectHttp2(server.process.url);
    session.on("error", () => undefined);
    return new Promise((resolve) => session.once("remoteSettings", () => resolve(session)));
  }

  it("is not ready any more, sends GOAWAY, answers the calls in flight, takes no new ones, and exits with 0", async () => {
    const client = createGrpcJsClient(server);
    const health = createHealthClient(server.process.url);
    const watched = health.watch("claviger.v1.KeyVerifier");
    const session = await openSession();
    const goaway = once(session, "goaway");
    const { release } = await holdOwner();

    const request = { owner: OWNER, display_name: "in flight" };
    const overGrpc = client.call("KeyManagement/CreateKey", request);
    const overHttp1 = fetch(`${server.process.url}/claviger.v1.KeyManagement/CreateKey`, {
      method: "POST",
      headers: { "content-type": "application/json", authorization: `Bearer ${server.token}` },
      body: JSON.stringify(request),
    });
    await eventually(async () => expect(await callsHeldUp()).toBe(2));

    await server.process.kill("SIGTERM");
    expect((await goaway)[0]).toBe(0);
    await eventually(() => expect(isListening(server.process.port)).resolves.toBe(false));
    expect(await watched).toEqual(["SERVING", "NOT_SERVING", expect.stringContaining("unavailable")]);
    expect(await callsHeldUp()).toBe(2);

    await release();
    expect((await overGrpc).message.secret).toMatch(/^clv_live_/);
    expect(await (await overHttp1).json()).toMatchObject({ secret: expect.stringMatching(/^clv_live_/) });
    expect(await server.process.exited).toEqual({ code: 0, signal: null });
    expect(() => process.kill(server.process.pid, 0)).toThrow("ESRCH");
    client.close();
    health.close();
    session.destroy();
  });

  it("cuts off a call that does not end within the time for draining, and exits with 0 all the same", async () => {
    await server.close();
    server = await startOnPostgres({
      databaseUrl: database.url,
      env: { CLAVIGER_POLICY: JSON.stringify({ port: { drainMs: 300 }, postgres: { lockTimeoutMs: 3000 } }) },
    });
    const client = createGrpcJsClient(server);
    const { release } = await holdOwner();
    const call = client.call("KeyManagement/CreateKey", { owner: OWNER, display_name: "stuck" });
    const outcome = call.then(
      () => "answered",
      () => "cut off",
    );
    await eventually(async () => expect(await callsHeldUp()).toBe(1));
    await server.process.kill("SIGTERM");
    expect(await outcome).toBe("cut off");
    expect(await server.process.exited).toEqual({ code: 0, signal: null });
    await release();
    client.close();
  });
});

async function isListening(port: number): Promise<boolean> {
  const socket = connectTcp({ port, host: "127.0.0.1" });
  try {
    await once(socket, "connect");
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
