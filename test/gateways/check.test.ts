import type { MessageInitShape } from "@bufbuild/protobuf";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport } from "@connectrpc/connect-node";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  Authorization,
  type CheckRequestSchema,
  type CheckResponse,
} from "#gen/envoy/service/auth/v3/external_auth_pb.js";
import { eventually } from "../../testkit/eventually.ts";
import { type MadeKey, makeKey } from "../rpc/make-key.ts";
import { type GatewayServer, POLICIES, startGatewayServer } from "./gateway-server.ts";

let server: GatewayServer;
let key: MadeKey;
beforeAll(async () => {
  server = await startGatewayServer({ CLAVIGER_TRUSTED_HOPS: "2", CLAVIGER_VERIFY_ACCESS: "key" });
  key = await makeKey(server.admin, { owner: "Zoë, 100 %", scopes: ["orders:*"], labels: { team: "blue" } });
});
afterAll(() => server.close());

type Headers = Readonly<Record<string, string>>;

const clientOf = (token: string, kind: "grpc" | "connect" = "grpc") => {
  const options = { baseUrl: server.url, httpVersion: "2" as const };
  const transport = kind === "grpc" ? createGrpcTransport(options) : createConnectTransport(options);
  const client = createClient(Authorization, transport);
  return (request: MessageInitShape<typeof CheckRequestSchema>) =>
    client.check(request, { timeoutMs: 5000, headers: { authorization: `Bearer ${token}` } });
};
const asking = (headers: Headers, extensions: Headers = {}, path = "/orders/1") => ({
  attributes: {
    source: { address: { address: { case: "socketAddress" as const, value: { address: "192.0.2.9" } } } },
    request: { http: { method: "GET", path, headers } },
    contextExtensions: extensions,
  },
});
const check = (headers: Headers, extensions?: Headers, path?: string) =>
  clientOf(server.adminToken)(asking(headers, extensions, path));
const bearer = (secret: string) => ({ authorization: `Bearer ${secret}` });

function deniedBy({ httpResponse }: CheckResponse) {
  if (httpResponse.case !== "deniedResponse") throw new Error("it is not denied");
  const { status, headers, body } = httpResponse.value;
  return {
    status: status?.code,
    headers: headersOf(headers),
    reason: body.startsWith("{") ? JSON.parse(body).reason : body,
  };
}
function allowedBy({ httpResponse }: CheckResponse) {
  if (httpResponse.case !== "okResponse") throw new Error("it is denied");
  return { headers: headersOf(httpResponse.value.headers), removed: httpResponse.value.headersToRemove };
}
const headersOf = (list: readonly { header?: { key: string; value: string } | undefined; appendAction: number }[]) => {
  expect(list.every(({ appendAction }) => appendAction === 2)).toBe(true);
  return Object.fromEntries(list.map(({ header }) => [header?.key, header?.value]));
};

describe("Check", () => {
  it("allows a good key with all identity headers, which overwrite the client's, and removes the credential", async () => {
    const answer = await check({ ...bearer(key.secret), "x-claviger-owner": "admin" });
    expect(allowedBy(answer)).toEqual({
      headers: {
        "x-claviger-key-id": key.id,
        "x-claviger-owner": "Zo%C3%AB%2C%20100%20%25",
        "x-claviger-scopes": "orders:*",
        "x-claviger-environment": "live",
        "x-claviger-secret-version": "1",
      },
      removed: ["authorization", "x-api-key"],
    });
    expect(answer.dynamicMetadata).toMatchObject({ key_id: key.id, labels: { team: "blue" }, environment: "live" });
  });

  it("answers the same through the router", async () => {
    const answer = await clientOf(server.adminToken, "connect")(asking(bearer(key.secret)));
    expect(allowedBy(answer).headers["x-claviger-key-id"]).toBe(key.id);
  });

  it("reads raw headers", async () => {
    const headers = [{ key: "x-api-key", rawValue: Buffer.from(key.secret) }];
    const request = { attributes: { request: { http: { method: "GET", path: "/", headerMap: { headers } } } } };
    expect(allowedBy(await clientOf(server.adminToken)(request)).headers["x-claviger-key-id"]).toBe(key.id);
  });

  it.each<[string, Headers, Headers, object]>([
    ["no key", {}, {}, { status: 401, reason: "CREDENTIAL_MISSING", headers: { "www-authenticate": "Bearer" } }],
    ["a key that is none", bearer("x"), {}, { status: 401, reason: "CREDENTIAL_INVALID" }],
    ["two keys", { ...bearer("a"), "x-api-key": "b" }, {}, { status: 401, reason: "CREDENTIAL_INVALID" }],
    ["a key too long for any", bearer("x".repeat(5000)), {}, { status: 401, reason: "CREDENTIAL_INVALID" }],
    ["an unknown policy", {}, { "claviger.policy": "order-read" }, { status: 403, reason: "PERMISSION_DENIED" }],
    ["no scopes", {}, { "claviger.scopes": "" }, { status: 403, reason: "PERMISSION_DENIED" }],
    ["scopes that are none", {}, { "claviger.scopes": "*" }, { status: 403, reason: "PERMISSION_DENIED" }],
  ])("denies %s", async (_, headers, extensions, expected) => {
    expect(deniedBy(await check(headers, extensions))).toMatchObject(expected);
  });

  it("requires the scopes of the policy, and only without one those of claviger.scopes", async () => {
    const { secret } = await makeKey(server.admin, { owner: "narrow", scopes: ["other"] });
    expect(deniedBy(await check(bearer(secret), { "claviger.policy": "orders-read" }))).toMatchObject({
      status: 403,
      headers: { "www-authenticate": 'Bearer error="insufficient_scope", scope="orders:read"' },
    });
    expect(deniedBy(await check(bearer(secret), { "claviger.scopes": "other, orders:read" })).status).toBe(403);
    const both = { "claviger.policy": "public", "claviger.scopes": "orders:read" };
    expect(allowedBy(await check(bearer(secret), both)).headers["x-claviger-scopes"]).toBe("other");
  });

  it("lets a request without a key through an anonymous policy, with identity headers that name no key", async () => {
    const { headers } = allowedBy(await check({ "x-claviger-owner": "admin" }, { "claviger.policy": "public" }));
    expect([...new Set(Object.values(headers))]).toEqual(["-"]);
    expect(Object.keys(headers)).toHaveLength(5);
    expect(deniedBy(await check(bearer("x"), { "claviger.policy": "public" })).status).toBe(401);
  });

  it("takes the client's address by trusted hops, never the left-most that a client can write", async () => {
    const { secret } = await makeKey(server.admin, { owner: "bound", allowedCidrs: ["10.0.0.0/8"] });
    const from = async (forwarded: string) =>
      (await check({ ...bearer(secret), "x-forwarded-for": forwarded })).httpResponse.case;
    expect(await from("10.0.0.1, 192.0.2.1")).toBe("okResponse");
    expect(await from("10.0.0.1, 198.51.100.7, 192.0.2.1")).toBe("deniedResponse");
    expect(await from("10.0.0.1")).toBe("deniedResponse");
  });

  it("denies a key over its limit with 429, and tells gRPC clients not to retry at once", async () => {
    const { secret } = await makeKey(server.admin, { owner: "limited", limits: { requestsPerSecond: 1, burst: 1 } });
    const headers = { ...bearer(secret), "content-type": "application/grpc" };
    const answers = await Promise.all(Array.from({ length: 5 }, () => check(headers, {}, "/a.B/C")));
    const denials = answers.filter(({ httpResponse }) => httpResponse.case === "deniedResponse").map(deniedBy);
    // Envoy makes the body the grpc-message.
    expect(denials[0]).toMatchObject({ status: 429, headers: { "grpc-status": "8" } });
    expect(denials[0]?.reason).toMatch(/^the key's limit of requests per second is reached/);
    expect(denials[0]?.headers["retry-after"]).toMatch(/^\d+$/);
  });

  it("allows no request that began after RevokeKey returned, from memory or not", async () => {
    const made = await makeKey(server.admin, { owner: "revoked" });
    let isRevoked = false;
    const late: string[] = [];
    let isOver = false;
    const ask = async () => {
      while (!isOver) {
        const began = isRevoked;
        const answer = await check(bearer(made.secret));
        if (began) late.push(answer.httpResponse.case ?? "");
      }
    };
    const asking = Array.from({ length: 10 }, ask);
    await server.admin.keys.revokeKey({ keyId: made.id });
    isRevoked = true;
    await expect.poll(() => late.length).toBeGreaterThan(20);
    isOver = true;
    await Promise.all(asking);
    expect([...new Set(late)]).toEqual(["deniedResponse"]);
  });

  it("refuses a gateway without claviger:verify as an error, which is no denial", async () => {
    const refused = await clientOf(key.secret)(asking(bearer(key.secret))).catch((error: unknown) => error);
    expect(ConnectError.from(refused).code).toBe(Code.PermissionDenied);
  });

  it("obeys a changed policies file, keeps the last one when it is bad, and denies under a policy that is gone", async () => {
    const status = async () => (await check({}, { "claviger.policy": "fresh" })).httpResponse.case;
    await server.writePolicies('{"fresh": {"anonymous": true}}');
    await eventually(async () => expect(await status()).toBe("okResponse"));
    await server.writePolicies('{"fresh": {"anonymus": true}}');
    await eventually(async () => expect(server.output()).toContain("until then the policies stay as they were"));
    expect(await status()).toBe("okResponse");
    await server.writePolicies(POLICIES);
    await eventually(async () => expect(await status()).toBe("deniedResponse"));
  });

  it("writes no secret into the log", () => {
    expect(server.output()).toContain("Authorization/Check");
    expect(server.output()).not.toContain(key.secret);
  });
});
