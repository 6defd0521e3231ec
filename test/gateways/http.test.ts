import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { freePort } from "../../testkit/free-port.ts";
import { type MadeKey, makeKey } from "../rpc/make-key.ts";
import { type GatewayServer, startGatewayServer } from "./gateway-server.ts";

let server: GatewayServer;
let key: MadeKey;
beforeAll(async () => {
  server = await startGatewayServer();
  key = await makeKey(server.admin, { owner: "alice", scopes: ["orders:read"] });
});
afterAll(() => server.close());

const ask = (path: string, headers: Readonly<Record<string, string>> = {}, method = "GET") =>
  fetch(`${server.url}${path}`, { method, headers });
const bearer = (secret: string) => ({ authorization: `Bearer ${secret}` });
const statusOf = async (path: string, headers?: Readonly<Record<string, string>>) => (await ask(path, headers)).status;

describe("/authz", () => {
  it("answers 200 with every identity header, to any method, and no answer may be kept", async () => {
    for (const method of ["GET", "POST", "DELETE", "HEAD"]) {
      const { status, headers } = await ask("/authz/orders-read?x=1", bearer(key.secret), method);
      expect(status).toBe(200);
      expect(Object.fromEntries(headers)).toMatchObject({
        "x-claviger-key-id": key.id,
        "x-claviger-owner": "alice",
        "x-claviger-scopes": "orders:read",
        "x-claviger-environment": "live",
        "x-claviger-secret-version": "1",
        "cache-control": "no-store",
      });
    }
  });

  it("answers 401 and 403 with the body of the SDK, and no answer may be kept", async () => {
    const missing = await ask("/authz");
    expect([missing.status, missing.headers.get("www-authenticate")]).toEqual([401, "Bearer"]);
    expect(await missing.json()).toMatchObject({ code: "unauthenticated", reason: "CREDENTIAL_MISSING" });
    const { secret } = await makeKey(server.admin, { owner: "narrow", scopes: ["other"] });
    const lacking = await ask("/authz/orders-read", bearer(secret));
    expect([lacking.status, lacking.headers.get("cache-control")]).toEqual([403, "no-store"]);
    expect(await lacking.json()).toMatchObject({ metadata: { missing_scopes: "orders:read" } });
  });

  it("takes the policy from the path's first segment only, and opens nothing for a name that is no policy", async () => {
    const { secret } = await makeKey(server.admin, { owner: "narrow", scopes: ["other"] });
    expect(await statusOf("/authz/orders-read/orders/1", bearer(key.secret))).toBe(200);
    expect(await statusOf("/authz/orders-read/public", bearer(secret))).toBe(403);
    expect(await statusOf("/authz?policy=public", {})).toBe(401);
    expect(await statusOf("/authz/-/orders/1", bearer(secret))).toBe(200);
    for (const path of ["/authz/order-read", "/authz/order-read/1", "/authz//orders-read", "/authz/%70ublic"]) {
      expect(await statusOf(path, bearer(key.secret))).toBe(403);
    }
  });

  it("lets no key through an anonymous policy, and names nobody", async () => {
    const { status, headers } = await ask("/authz/public", { "x-claviger-owner": "admin" });
    expect([status, headers.get("x-claviger-owner"), headers.get("x-claviger-scopes")]).toEqual([200, "-", "-"]);
  });

  it("denies keys with allowed_cidrs, since no hop is trusted", async () => {
    const { secret } = await makeKey(server.admin, { owner: "bound", allowedCidrs: ["0.0.0.0/0"] });
    expect(await statusOf("/authz", { ...bearer(secret), "x-forwarded-for": "10.0.0.1" })).toBe(403);
  });

  it("answers 401 once RevokeKey has returned", async () => {
    const made = await makeKey(server.admin, { owner: "revoked" });
    expect(await statusOf("/authz", bearer(made.secret))).toBe(200);
    await server.admin.keys.revokeKey({ keyId: made.id });
    expect(await statusOf("/authz", bearer(made.secret))).toBe(401);
  });

  it("answers 503 to a gateway that nothing identifies, which says nothing about the key", async () => {
    const closed = await startGatewayServer({ CLAVIGER_VERIFY_ACCESS: "key" });
    try {
      const { status, headers } = await fetch(`${closed.url}/authz`, { headers: bearer(closed.adminToken) });
      expect([status, headers.get("cache-control")]).toEqual([503, "no-store"]);
    } finally {
      await closed.close();
    }
  });
});

describe("/introspect", () => {
  const introspect = (token: string, headers: Readonly<Record<string, string>>, type?: string) =>
    fetch(`${server.url}/introspect`, {
      method: "POST",
      body: type === undefined ? new URLSearchParams({ token }) : token,
      headers: { ...headers, ...(type === undefined ? {} : { "content-type": type }) },
    });
  const basic = (secret: string) => ({ authorization: `Basic ${Buffer.from(`x:${secret}`).toString("base64")}` });

  it("describes a good key to a caller by Basic or Bearer", async () => {
    for (const caller of [basic(server.adminToken), bearer(server.adminToken)]) {
      const answer = await introspect(key.secret, caller);
      expect([answer.status, answer.headers.get("cache-control")]).toEqual([200, "no-store"]);
      expect(await answer.json()).toMatchObject({
        ...{ active: true, scope: "orders:read", client_id: key.id, sub: "alice", token_type: "Bearer" },
      });
    }
  });

  it("says of any other token only that it is not active", async () => {
    const made = await makeKey(server.admin, { owner: "revoked" });
    await server.admin.keys.revokeKey({ keyId: made.id });
    for (const token of ["x", made.secret]) {
      expect(await (await introspect(token, bearer(server.adminToken))).json()).toEqual({ active: false });
    }
  });

  it("refuses a bad caller, a caller without the scope, another type, several tokens and a long body", async () => {
    const anonymous = await introspect(key.secret, {});
    expect([anonymous.status, anonymous.headers.get("www-authenticate")]).toEqual([
      401,
      'Basic realm="claviger", Bearer',
    ]);
    expect((await introspect(key.secret, basic("x"))).status).toBe(401);
    expect((await introspect(key.secret, bearer(key.secret))).status).toBe(403);
    const admin = bearer(server.adminToken);
    expect((await introspect("{}", admin, "application/json")).status).toBe(400);
    const form = "application/x-www-form-urlencoded";
    expect((await introspect("token=a&token=b", admin, form)).status).toBe(400);
    expect((await introspect(`token=${"a".repeat(20_000)}`, admin, form)).status).toBe(400);
    expect(await statusOf("/introspect")).toBe(405);
  });
});

it("no secret is in the log", () => {
  expect(server.output()).toContain("claviger.http/Authz");
  expect(server.output()).not.toContain(key.secret);
});

describe("the port of CLAVIGER_AUTHZ_LISTEN", () => {
  it("answers /authz to whoever reaches it, and nothing else; the first port does not", async () => {
    const port = await freePort();
    const strict = await startGatewayServer({
      ...{ CLAVIGER_VERIFY_ACCESS: "key", CLAVIGER_AUTHZ_LISTEN: `127.0.0.1:${port}` },
    });
    try {
      const { secret } = await makeKey(strict.admin, { owner: "alice", scopes: ["orders:read"] });
      const statuses = async (url: string) => {
        const at = async (path: string, headers: Readonly<Record<string, string>>) =>
          (await fetch(`${url}${path}`, { headers })).status;
        return {
          allowed: await at("/authz/orders-read", bearer(secret)),
          without: await at("/authz", {}),
          metrics: await at("/metrics", {}),
          ready: await at("/readyz", {}),
          manage: await at("/claviger.v1.KeyManagement/GetKey", bearer(strict.adminToken)),
        };
      };
      expect(await statuses(`http://127.0.0.1:${port}`)).toEqual({
        ...{ allowed: 200, without: 401, metrics: 404, ready: 404, manage: 404 },
      });
      expect(await statuses(strict.url)).toMatchObject({ allowed: 503, without: 503, metrics: 200, ready: 200 });
    } finally {
      await strict.close();
    }
  });
});
