import { request as httpRequest } from "node:http";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, expect, it } from "vitest";
import { describeWithCurl } from "../../testkit/describe-with.ts";
import { outputOf } from "../../testkit/run-program.ts";
import { createGrpcJsClient } from "./grpc-js.ts";
import { grpcRefusalOf } from "./grpc-refusal.ts";
import { type RunningServer, startEmbedded } from "./running-server.ts";

describeWithCurl("plain curl with JSON over HTTP/1.1", () => {
  let server: RunningServer;
  beforeAll(async () => {
    server = await startEmbedded();
  });
  afterAll(() => server.close());

  const authorization = () => `authorization: Bearer ${server.token}`;

  /** POSTs JSON; by default as the administrator. */
  async function curl(method: string, request: object, headers: readonly string[] = [authorization()]) {
    const args = [
      ...["-sS", "--http1.1", "-w", "\n%{http_code} %{http_version}", "-d", "@-"],
      ...["content-type: application/json", ...headers].flatMap((header) => ["-H", header]),
      `${server.process.url}/claviger.v1.${method}`,
    ];
    const output = await outputOf("curl", args, { stdin: JSON.stringify(request) });
    const [, body = "", code, version] = /^(.*)\n(\d+) (\S+)$/s.exec(output) ?? [];
    return { code: Number(code), version, body };
  }

  it("creates, verifies and revokes a key", async () => {
    const created = await curl("KeyManagement/CreateKey", { owner: "carol", displayName: "curl", ttl: "3600s" });
    expect(created).toMatchObject({ code: 200, version: "1.1" });
    const { key, secret } = JSON.parse(created.body);
    expect(key).toMatchObject({ owner: "carol", displayName: "curl", state: "KEY_STATE_ACTIVE" });

    const valid = await curl("KeyVerifier/Verify", { secret });
    expect(JSON.parse(valid.body)).toMatchObject({ verdict: "VERDICT_VALID", key: { id: key.id, secretVersion: 1 } });

    expect(await curl("KeyManagement/RevokeKey", { keyId: key.id })).toMatchObject({ code: 200 });
    expect(JSON.parse((await curl("KeyVerifier/Verify", { secret })).body).verdict).toBe("VERDICT_REVOKED");
  });

  it("gets an error with its code, and with ErrorInfo and BadRequest in the details", async () => {
    const { code, body } = await curl("KeyManagement/CreateKey", { owner: "carol" });
    expect(code).toBe(400);
    const error = JSON.parse(body);
    expect(error).toMatchObject({ code: "invalid_argument", message: expect.any(String) });
    expect(error.details).toEqual([
      expect.objectContaining({
        type: "google.rpc.ErrorInfo",
        debug: expect.objectContaining({ reason: "INVALID_FIELD", domain: "claviger" }),
      }),
      expect.objectContaining({
        type: "google.rpc.BadRequest",
        debug: { fieldViolations: [expect.objectContaining({ field: "display_name" })] },
      }),
    ]);
  });

  it("is UNAUTHENTICATED without a credential", async () => {
    const { code, body } = await curl("KeyManagement/ListKeys", {}, []);
    expect(code).toBe(401);
    expect(JSON.parse(body)).toMatchObject({
      code: "unauthenticated",
      details: [{ debug: { reason: "CREDENTIAL_MISSING" } }],
    });
  });

  it("is refused with MESSAGE_TOO_LARGE when it sends more than 64 KiB", async () => {
    const { code, body } = await curl("KeyVerifier/Verify", { secret: "x".repeat(64 * 1024) });
    expect(code).toBe(429);
    expect(JSON.parse(body)).toMatchObject({
      code: "resource_exhausted",
      details: [{ debug: { reason: "MESSAGE_TOO_LARGE" } }],
    });
  });

  it("is refused when its headers are more than 16 KiB", async () => {
    const { code } = await curl("KeyVerifier/Verify", {}, [authorization(), `x-long: ${"x".repeat(16 * 1024)}`]);
    expect(code).toBe(431);
  });

  it("is answered with DEADLINE_EXCEEDED when the body has not arrived within its timeout", async () => {
    const request = httpRequest(`${server.process.url}/claviger.v1.KeyVerifier/Verify`, {
      method: "POST",
      headers: {
        "content-type": "application/json",
        authorization: `Bearer ${server.token}`,
        "connect-timeout-ms": "150",
        "content-length": "100",
      },
    });
    request.write("{");
    const { status, body } = await new Promise<{ status: number | undefined; body: string }>((resolve, reject) => {
      request.on("error", reject);
      request.on("response", (response) =>
        text(response).then((body) => resolve({ status: response.statusCode, body }), reject),
      );
    });
    request.destroy();
    expect(status).toBe(504);
    expect(JSON.parse(body)).toMatchObject({
      code: "deadline_exceeded",
      details: [{ debug: { reason: "DEADLINE_EXCEEDED" } }],
    });
  });

  it("shares the limit on messages with gRPC", async () => {
    const client = createGrpcJsClient(server);
    const call = client.call("KeyVerifier/Verify", { secret: "x".repeat(64 * 1024) });
    expect(await grpcRefusalOf(call)).toMatchObject({ code: "RESOURCE_EXHAUSTED", reason: "MESSAGE_TOO_LARGE" });
    client.close();
  });
});
