import { connect as connectHttp2, constants, type IncomingHttpHeaders } from "node:http2";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createTestDatabase, type TestDatabase } from "../../testkit/database.ts";
import { describeWithPostgres } from "../../testkit/describe-with.ts";
import { eventually } from "../../testkit/eventually.ts";
import type { Mutation } from "../../testkit/mutation.ts";
import { createTcpProxy, type TcpProxy } from "../../testkit/tcp-proxy.ts";
import { createGrpcJsClient, type GrpcJsClient, type Message } from "./grpc-js.ts";
import { grpcRefusalOf, readRefusal } from "./grpc-refusal.ts";
import { type RunningServer, startEmbedded, startOnPostgres } from "./running-server.ts";

describe("a grpc-js client with the proto files", () => {
  let server: RunningServer;
  let client: GrpcJsClient;
  beforeAll(async () => {
    server = await startEmbedded();
    client = createGrpcJsClient(server);
  });
  afterAll(async () => {
    client.close();
    await server.close();
  });

  async function verdictOn(secret: unknown): Promise<unknown> {
    return (await client.call("KeyVerifier/Verify", { secret, required_scopes: ["orders:read"] })).message.verdict;
  }

  it("sees the life of a key: created, verified, rotated, revoked", async () => {
    const request = { owner: "alice", display_name: "orders", scopes: ["orders:*"] };
    const created = (await client.call("KeyManagement/CreateKey", request)).message;
    const { id } = created.key as Message;
    expect(await verdictOn(created.secret)).toBe("VERDICT_VALID");

    const rotated = (await client.call("KeyManagement/RotateKey", { key_id: id })).message;
    expect(rotated.key).toMatchObject({ id, display_name: "orders" });
    expect(await Promise.all([created.secret, rotated.secret].map(verdictOn))).toEqual([
      "VERDICT_VALID",
      "VERDICT_VALID",
    ]);

    await client.call("KeyManagement/RevokeKey", { key_id: id, reason: "REVOCATION_REASON_COMPROMISED" });
    expect(await Promise.all([created.secret, rotated.secret].map(verdictOn))).toEqual([
      "VERDICT_REVOKED",
      "VERDICT_REVOKED",
    ]);
  });

  it("gets a code and an ErrorInfo with a refusal", async () => {
    expect(await grpcRefusalOf(client.call("KeyManagement/GetKey", { key_id: `key_${"0".repeat(26)}` }))).toEqual({
      code: "NOT_FOUND",
      reason: "KEY_NOT_FOUND",
      hasRetryInfo: false,
    });
  });
});

const RETRIES = JSON.stringify({
  methodConfig: [
    {
      name: [{ service: "claviger.v1.KeyVerifier" }],
      retryPolicy: {
        maxAttempts: 5,
        initialBackoff: "0.3s",
        maxBackoff: "2s",
        backoffMultiplier: 2,
        retryableStatusCodes: ["UNAVAILABLE"],
      },
    },
  ],
});

describeWithPostgres("a grpc-js client with a retryPolicy, when the database is away for a moment", () => {
  let database: TestDatabase;
  let proxy: TcpProxy;
  let databaseUrl: string;

  beforeAll(async () => {
    database = await createTestDatabase();
    const url = new URL(database.url);
    proxy = await createTcpProxy({ host: url.hostname, port: Number(url.port || "5432") });
    url.host = `127.0.0.1:${proxy.port}`;
    databaseUrl = url.href;
  });
  afterAll(async () => {
    await proxy.close();
    await database.drop();
  });

  async function withServer<T>(mutations: readonly Mutation[], use: (server: RunningServer) => Promise<T>): Promise<T> {
    const server = await startOnPostgres({ databaseUrl, mutate: mutations });
    try {
      return await use(server);
    } finally {
      await proxy.resume();
      await server.close();
    }
  }

  async function loseDatabase(): Promise<void> {
    await proxy.refuse();
    proxy.reset();
  }

  /** One call that begins while the database is away; it comes back once the server has refused the first attempt. */
  async function callThroughOutage(server: RunningServer): Promise<{ message: Message; earlierAttempts: number }> {
    const client = createGrpcJsClient({ ...server, channel: { "grpc.service_config": RETRIES } });
    try {
      await loseDatabase();
      const refused = '"code":"UNAVAILABLE","reason":"STORAGE_UNAVAILABLE"';
      const refusals = () => server.process.stderr().split(refused).length - 1;
      const before = refusals();
      const call = client.call("KeyVerifier/Verify", { secret: server.token });
      const settled = call.then(
        () => undefined,
        () => undefined,
      );
      await Promise.race([settled, eventually(() => expect(refusals()).toBeGreaterThan(before))]);
      await proxy.resume();
      return await call;
    } finally {
      client.close();
    }
  }

  it("retries, and its one call succeeds", async () => {
    const answer = await withServer([], callThroughOutage);
    expect(answer.message.verdict).toBe("VERDICT_VALID");
    expect(answer.earlierAttempts).toBeGreaterThanOrEqual(1);
  });

  it("control: does not retry when the refusal is not Trailers-Only", async () => {
    const headersThenTrailers = {
      file: "src/transport/direct/direct-unary.ts",
      find: "this.#stream.respond(this.#options.blocks.trailersOnly(this.#requestId, error), true);",
      replace: `this.#stream.respond(this.#options.blocks.head(this.#requestId), false);
      this.#stream.end(this.#options.blocks.trailers(error));`,
    };
    const refusal = await withServer([headersThenTrailers], (server) => grpcRefusalOf(callThroughOutage(server)));
    expect(refusal).toEqual({ code: "UNAVAILABLE", reason: "STORAGE_UNAVAILABLE", hasRetryInfo: true });
  });

  it("is told so in one HEADERS frame that ends the stream, with RetryInfo", async () => {
    const { headers, endsStream } = await withServer([], async (server) => {
      await loseDatabase();
      return await verifyRaw(server);
    });
    expect(endsStream).toBe(true);
    expect(readRefusal(Number(headers["grpc-status"]), String(headers["grpc-status-details-bin"]))).toEqual({
      code: "UNAVAILABLE",
      reason: "STORAGE_UNAVAILABLE",
      hasRetryInfo: true,
    });
  });
});

/** A Verify of the empty secret over bare HTTP/2: the first HEADERS frame of the answer. */
async function verifyRaw({ process, token }: RunningServer) {
  const session = connectHttp2(process.url);
  try {
    return await new Promise<{ headers: IncomingHttpHeaders; endsStream: boolean }>((resolve, reject) => {
      session.on("error", reject);
      const stream = session.request({
        ":method": "POST",
        ":path": "/claviger.v1.KeyVerifier/Verify",
        "content-type": "application/grpc",
        te: "trailers",
        authorization: `Bearer ${token}`,
      });
      stream.on("error", reject);
      stream.on("response", (headers, flags) =>
        resolve({ headers, endsStream: (flags & constants.NGHTTP2_FLAG_END_STREAM) !== 0 }),
      );
      stream.end(Buffer.alloc(5));
    });
  } finally {
    session.destroy();
  }
}
