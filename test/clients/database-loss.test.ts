import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, it } from "vitest";
import { describeWithPostgres } from "../../testkit/describe-with.ts";
import { eventually } from "../../testkit/eventually.ts";
import { type PostgresServer, startPostgresServer } from "../../testkit/postgres-server.ts";
import { createTcpProxy, type TcpProxy } from "../../testkit/tcp-proxy.ts";
import { createGrpcJsClient, type GrpcJsClient } from "./grpc-js.ts";
import { grpcRefusalOf } from "./grpc-refusal.ts";
import { createHealthClient, type HealthClient } from "./health.ts";
import { type RunningServer, startOnPostgres } from "./running-server.ts";

/** Quick enough for a test to wait for; the relations of the defaults are kept. */
const POLICY = JSON.stringify({
  postgres: {
    statementTimeoutMs: 1000,
    lockTimeoutMs: 800,
    storageTimeoutMs: 1500,
    probeEveryMs: 200,
    probeTimeoutMs: 400,
  },
});

const UNAVAILABLE = "UNAVAILABLE STORAGE_UNAVAILABLE with RetryInfo";

/** How the database goes away, and how it comes back. */
interface Fault {
  readonly name: string;
  readonly begin: () => Promise<void> | void;
  readonly end: () => Promise<void>;
}

describeWithPostgres("while the database is away", () => {
  let postgres: PostgresServer;
  let proxy: TcpProxy;
  let server: RunningServer;
  let client: GrpcJsClient;
  let health: HealthClient;

  beforeAll(async () => {
    postgres = await startPostgresServer();
    proxy = await createTcpProxy({ port: postgres.port });
    const url = new URL(postgres.url);
    url.port = String(proxy.port);
    server = await startOnPostgres({ databaseUrl: url.href, env: { CLAVIGER_POLICY: POLICY } });
    client = createGrpcJsClient(server);
    health = createHealthClient(server.process.url);
  });
  afterAll(async () => {
    client.close();
    health.close();
    await server.close();
    await proxy.close();
    await postgres.stop();
  });

  const faults: readonly Fault[] = [
    { name: "killed", begin: () => postgres.kill("SIGKILL"), end: () => postgres.restart() },
    {
      name: "refusing connections",
      begin: async () => {
        await proxy.refuse();
        proxy.reset();
      },
      end: () => proxy.resume(),
    },
    { name: "hanging", begin: () => proxy.hang(), end: () => proxy.resume() },
  ];

  /** What a Verify of a good secret says: its verdict, or code and reason. */
  async function verify(): Promise<string> {
    const call = client.call("KeyVerifier/Verify", { secret: server.token });
    return await call.then(
      ({ message }) => String(message.verdict),
      async () => {
        const { code, reason, hasRetryInfo } = await grpcRefusalOf(call);
        return `${code} ${reason}${hasRetryInfo ? " with RetryInfo" : ""}`;
      },
    );
  }

  it.each(faults)("($name) Verify is UNAVAILABLE, never a verdict, and VALID again afterwards", async (fault) => {
    expect(await verify()).toBe("VERDICT_VALID");
    const answers = new Set<string>();
    let watching = true;
    const watcher = (async () => {
      while (watching) {
        answers.add(await verify());
        await sleep(10);
      }
    })();

    try {
      await fault.begin();
      for (const service of ["claviger.v1.KeyVerifier", "claviger.v1.KeyManagement"]) {
        await eventually(async () => expect(await health.check(service)).toBe("NOT_SERVING"));
      }
      expect(await health.check("")).toBe("SERVING");
      // From memory, until the lease is over.
      await eventually(async () => {
        const answer = await verify();
        answers.add(answer);
        expect(answer).toBe(UNAVAILABLE);
      });
    } finally {
      await fault.end();
      await eventually(async () => expect(await verify()).toBe("VERDICT_VALID"));
      watching = false;
      await watcher;
    }
    await eventually(async () => expect(await health.check("claviger.v1.KeyVerifier")).toBe("SERVING"));
    expect([UNAVAILABLE, "VERDICT_VALID"]).toEqual(expect.arrayContaining([...answers]));
    expect([...answers]).toContain(UNAVAILABLE);
  });

  it("a secret that is no secret still gets its verdict from a caller that needs no key", async () => {
    const url = new URL(postgres.url);
    url.port = String(proxy.port);
    const env = { CLAVIGER_POLICY: POLICY, CLAVIGER_VERIFY_ACCESS: "open" };
    const open = await startOnPostgres({ databaseUrl: url.href, env });
    const caller = createGrpcJsClient(open);
    try {
      await proxy.refuse();
      proxy.reset();
      expect((await caller.call("KeyVerifier/Verify", { secret: "no secret" })).message.verdict).toBe(
        "VERDICT_MALFORMED",
      );
    } finally {
      caller.close();
      await proxy.resume();
      await open.close();
    }
  });
});
