import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ConnectError } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Clients, connect } from "../../testkit/claviger.ts";
import { eventually } from "../../testkit/eventually.ts";
import { endOf, frame, GIVE_BACK, LEASE, openRaw, type RawHeaders, sayAll, WAYS } from "../../testkit/raw-sync.ts";
import { type ServerProcess, startServer } from "../../testkit/server-process.ts";
import { makeKey } from "./make-key.ts";

const ROOT_SECRET = Buffer.alloc(32, 5).toString("base64");

describe("the log", () => {
  let folder: string;
  let server: ServerProcess;
  let admin: Clients;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "claviger-log-"));
    server = await startServer({
      env: { CLAVIGER_DATA_DIR: folder, CLAVIGER_ROOT_SECRETS: ROOT_SECRET, CLAVIGER_LOG_LEVEL: "debug" },
    });
    admin = connect(server.url, (await readFile(join(folder, "admin-key"), "utf8")).trim());
  });
  afterAll(async () => {
    await server?.stop();
    await rm(folder, { recursive: true, force: true });
  });

  const lines = (): Record<string, unknown>[] =>
    server
      .stderr()
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => JSON.parse(line));

  /** The lines about a call that was made under a new request id, and the id that came back. */
  async function linesOf(
    call: (headers: Record<string, string>, onHeader: (got: Headers) => void) => Promise<unknown>,
  ) {
    const requestId = randomUUID();
    let echoed: string | null = null;
    const onHeader = (got: Headers) => {
      echoed = got.get("x-request-id");
    };
    await call({ "x-request-id": requestId }, onHeader).catch((error: unknown) =>
      onHeader(ConnectError.from(error).metadata),
    );
    const found = await eventually(() => {
      const about = lines().filter((line) => line.event === "call" && line.requestId === requestId);
      expect(about).not.toEqual([]);
      return about;
    });
    return { requestId, echoed, found };
  }

  const service = {
    caller: "service",
    keyId: expect.stringMatching(/^key_/),
    owner: expect.any(String),
    address: "127.0.0.1",
  };
  const anonymous = { caller: "anonymous", address: "127.0.0.1" };
  const rest = (requestId: string) => ({
    level: "debug",
    time: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
    event: "call",
    durationMs: expect.any(Number),
    requestId,
    msg: "call",
  });

  it("has one line for a call that succeeds, with nothing that was sent", async () => {
    const { requestId, echoed, found } = await linesOf((headers, onHeader) =>
      admin.keys.createKey({ owner: "log", displayName: "k" }, { headers, onHeader }),
    );
    const method = "claviger.v1.KeyManagement/CreateKey";
    expect(found).toEqual([{ ...rest(requestId), method, code: "OK", ...service, owner: "claviger:admin" }]);
    expect(echoed).toBe(requestId);
    expect(found[0]?.durationMs).toBeGreaterThan(0);
  });

  it("has the verdict of a verification", async () => {
    const { secret } = await makeKey(admin, { owner: "log-verify" });
    for (const [presented, verdict] of [
      [secret, "VALID"],
      ["x", "MALFORMED"],
    ] as const) {
      const { requestId, found } = await linesOf((headers) =>
        admin.verifier.verify({ secret: presented }, { headers }),
      );
      const method = "claviger.v1.KeyVerifier/Verify";
      expect(found).toEqual([{ ...rest(requestId), method, code: "OK", verdict, ...service }]);
    }
  });

  it("has one line for a call that the gate refuses, and tells its id to the caller", async () => {
    const { secret } = await makeKey(admin, { owner: "log-gate", scopes: ["a:b"] });
    const cases = [
      [undefined, "UNAUTHENTICATED", "CREDENTIAL_MISSING", anonymous],
      ["garbage", "UNAUTHENTICATED", "CREDENTIAL_INVALID", anonymous],
      [secret, "PERMISSION_DENIED", "PERMISSION_DENIED", { ...service, owner: "log-gate" }],
    ] as const;
    for (const [token, code, reason, caller] of cases) {
      const { requestId, echoed, found } = await linesOf((headers) =>
        connect(server.url, token).keys.listKeys({}, { headers }),
      );
      const method = "claviger.v1.KeyManagement/ListKeys";
      expect(found).toEqual([{ ...rest(requestId), level: "info", method, code, reason, ...caller }]);
      expect(echoed).toBe(requestId);
    }
  });

  it("has one line for a call that is refused later, and tells its id to the caller", async () => {
    const cases = [
      [{ owner: "log" }, "INVALID_ARGUMENT", "INVALID_FIELD"],
      [{ owner: "claviger:log", displayName: "k" }, "INVALID_ARGUMENT", "INVALID_FIELD"],
    ] as const;
    for (const [request, code, reason] of cases) {
      const { requestId, echoed, found } = await linesOf((headers) => admin.keys.createKey(request, { headers }));
      const method = "claviger.v1.KeyManagement/CreateKey";
      expect(found).toEqual([{ ...rest(requestId), method, code, reason, ...service }]);
      expect(echoed).toBe(requestId);
    }
  });

  it("has one line for a request that is too large, or cannot be decoded", async () => {
    const token = (await readFile(join(folder, "admin-key"), "utf8")).trim();
    const method = "claviger.v1.KeyVerifier/Verify";
    const send = (body: string) => (headers: Record<string, string>) =>
      fetch(new URL(method, server.url), {
        method: "POST",
        headers: { ...headers, authorization: `Bearer ${token}`, "content-type": "application/json" },
        body,
      });
    for (const [body, code, reason] of [
      [JSON.stringify({ secret: "x".repeat(70_000) }), "RESOURCE_EXHAUSTED", "MESSAGE_TOO_LARGE"],
      ["{ not JSON", "INVALID_ARGUMENT", "INVALID_FIELD"],
    ] as const) {
      const { requestId, found } = await linesOf(send(body));
      expect(found).toEqual([{ ...rest(requestId), method, code, reason, ...service }]);
    }
  });

  it("has one line, with no time of its own, for a call in a form of HTTP that is not served", async () => {
    const method = "grpc.health.v1.Health/Check";
    const before = lines().length;
    await fetch(new URL(`${method}?connect=v1&encoding=json&message=%7B%7D`, server.url));
    await fetch(new URL(method, server.url), { method: "POST", headers: { "content-type": "text/plain" }, body: "x" });
    const found = await eventually(() => {
      const about = lines()
        .slice(before)
        .filter((line) => line.method === method);
      expect(about).toHaveLength(2);
      return about;
    });
    for (const line of found) expect(line).toMatchObject({ code: "UNIMPLEMENTED", durationMs: 0, ...anonymous });
  });

  it("has five lines a minute at info for one refused caller, and the others at debug", async () => {
    const { secret } = await makeKey(admin, { owner: "log-refused", scopes: ["a:b"] });
    for (let call = 0; call < 8; call++) {
      await expect(connect(server.url, secret).keys.listKeys({})).rejects.toThrow(ConnectError);
    }
    const levels = await eventually(() => {
      const about = lines().filter((line) => line.event === "call" && line.owner === "log-refused");
      expect(about).toHaveLength(8);
      return about.map(({ level }) => level);
    });
    expect(levels).toEqual([...Array(5).fill("info"), ...Array(3).fill("debug")]);
  });

  describe.each(WAYS)("of a stream %s", (_, way) => {
    const method = "claviger.v1.KeyVerifier/Sync";
    const open = async (headers: RawHeaders) => {
      const adminToken = (await readFile(join(folder, "admin-key"), "utf8")).trim();
      return openRaw({ url: server.url, adminToken }, { ...way, ...headers });
    };
    const invalid = { code: "INVALID_ARGUMENT", reason: "INVALID_FIELD", ...service };
    const refused = { level: "info", code: "UNAUTHENTICATED", reason: "CREDENTIAL_INVALID", ...anonymous };

    it.each<[string, RawHeaders, Buffer[], Readonly<Record<string, unknown>>]>([
      ["is given back", {}, [LEASE, GIVE_BACK], { code: "OK", ...service, owner: "claviger:admin" }],
      ["says a message that is none", {}, [LEASE, frame(Buffer.alloc(0))], invalid],
      ["breaks off", {}, [LEASE.subarray(0, 6)], invalid],
      ["may not be opened", { authorization: "Bearer nobody" }, [LEASE], refused],
    ])("has one line, with the reason that its client hears, when it %s", async (_, headers, chunks, expected) => {
      const { requestId, echoed, found } = await linesOf(async (asked, onHeader) => {
        const raw = await open({ ...headers, ...asked });
        const end = endOf(raw);
        await sayAll(raw, chunks);
        const told = await end;
        expect("reason" in told ? told.reason : undefined).toBe(expected.reason);
        onHeader(new Headers({ "x-request-id": String(raw.trailers["x-request-id"]) }));
      });
      expect(found).toEqual([{ ...rest(requestId), method, ...expected }]);
      expect(echoed).toBe(requestId);
    });

    it("has one line when its client is gone", async () => {
      const { requestId, found } = await linesOf(async (asked) => {
        const { session, stream } = await open(asked);
        stream.write(LEASE);
        await once(stream, "response");
        session.socket.destroy();
      });
      expect(found).toMatchObject([{ ...rest(requestId), method, code: "CANCELLED", ...service }]);
    });
  });

  it("makes an id of its own for a call without one, or with one that is not fit for a log", async () => {
    const secret = `clv_live_${"0".repeat(49)}`;
    for (const given of [undefined, "", "a b", "x".repeat(65), "a\u00e9", secret]) {
      let echoed = "";
      const onHeader = (got: Headers) => {
        echoed = got.get("x-request-id") ?? "";
      };
      const headers: Record<string, string> = given === undefined ? {} : { "x-request-id": given };
      await admin.keys.listKeys({ pageSize: 1 }, { headers, onHeader });
      expect(echoed).toMatch(/^[0-9a-f]{24}$/);
      await eventually(() => expect(lines().filter((line) => line.requestId === echoed)).toHaveLength(1));
    }
    expect(server.stderr()).not.toContain(secret);
  });

  it("begins with the settings that were set, secrets masked", () => {
    const started = lines().filter((line) => line.event === "started");
    expect(started).toMatchObject([
      {
        url: server.url,
        storage: "embedded",
        settings: { CLAVIGER_DATA_DIR: folder, CLAVIGER_ROOT_SECRETS: "[redacted]", CLAVIGER_LISTEN: "127.0.0.1:0" },
      },
    ]);
    expect(server.stderr()).not.toContain(ROOT_SECRET);
  });

  it("has a line of its own for every change, with who made it", async () => {
    const { id: keyId } = await makeKey(admin, { owner: "log-change" });
    await admin.keys.rotateKey({ keyId });
    await admin.keys.revokeKey({ keyId });
    const about = await eventually(() => {
      const written = lines().filter((line) => line.keyId === keyId);
      expect(written.map(({ event }) => event)).toEqual(["key.created", "key.rotated", "key.revoked"]);
      return written;
    });
    for (const line of about) expect(line).toMatchObject({ owner: "log-change", actor: { kind: "service" } });
  });
});
