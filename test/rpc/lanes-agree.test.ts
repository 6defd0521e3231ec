import { cp, mkdtemp, readFile, rm } from "node:fs/promises";
import { connect as connectHttp2, constants } from "node:http2";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { create, toBinary, toJson } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { createClient, type Transport } from "@connectrpc/connect";
import {
  compressionGzip,
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
} from "@connectrpc/connect-node";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { Environment } from "#gen/claviger/v1/key_pb.js";
import {
  KeyVerifier,
  type Verdict,
  type VerifyRequest,
  VerifyRequestSchema,
  VerifyResponseSchema,
} from "#gen/claviger/v1/key_verifier_pb.js";
import { createValidate } from "../../src/rpc/validate.ts";
import { isPlainQuestion } from "../../src/wire/question.ts";
import { startClaviger, type TestClaviger } from "../../testkit/claviger.ts";
import { refusalOf } from "../../testkit/refusal.ts";
import { type ServerProcess, startServer } from "../../testkit/server-process.ts";
import { readRefusal } from "../clients/grpc-refusal.ts";
import { changeKey } from "./change-key.ts";
import { forge, mistype } from "./forge.ts";
import { makeKey } from "./make-key.ts";

const PATH = "/claviger.v1.KeyVerifier/Verify";
const MAX_MESSAGE_BYTES = 64 * 1024;

/** Each way that a unary `Verify` can come in; the first is past the router. */
const WAYS: Readonly<Record<string, (baseUrl: string) => Transport>> = {
  "fast lane": (baseUrl) => createGrpcTransport({ baseUrl }),
  "router, gRPC": (baseUrl) => createGrpcTransport({ baseUrl, sendCompression: compressionGzip, compressMinBytes: 0 }),
  "gRPC-Web": (baseUrl) => createGrpcWebTransport({ baseUrl, httpVersion: "2" }),
  "Connect, binary": (baseUrl) => createConnectTransport({ baseUrl, httpVersion: "2", useBinaryFormat: true }),
  "Connect, JSON": (baseUrl) => createConnectTransport({ baseUrl, httpVersion: "1.1", useBinaryFormat: false }),
};

type Request = Partial<
  Pick<VerifyRequest, "secret" | "requiredScopes" | "method" | "clientIp" | "cost" | "environment">
>;

describe("Verify answers the same whichever way it comes in", () => {
  let claviger: TestClaviger;
  const secrets: Record<string, string> = {};
  const lanes = async () => {
    const text = await (await fetch(`${claviger.url}/metrics`)).text();
    return Object.fromEntries(
      ["fast", "router"].map((lane) => {
        const lines = text.matchAll(new RegExp(`^claviger_verifications_total\\{.*lane="${lane}"\\} (\\d+)$`, "gm"));
        return [lane, [...lines].reduce((sum, [, count]) => sum + Number(count), 0)];
      }),
    );
  };

  beforeAll(async () => {
    claviger = await startClaviger("embedded", { CLAVIGER_LEASE_MS: "60000" });
    const { admin } = claviger;
    const make = async (name: string, request: object = {}) => {
      const made = await makeKey(admin, { owner: `lanes-${name}`, scopes: ["orders:*"], ...request });
      secrets[name] = made.secret;
      return made;
    };
    await make("plain", { labels: { team: "blue", tier: "1" }, metadata: { plan: { name: "pro", seats: 7 } } });
    const revoked = await make("revoked");
    await admin.keys.revokeKey({ keyId: revoked.id });
    const disabled = await make("disabled");
    await changeKey(admin, disabled.id, { disabled: true });
    const rotated = await make("retiring");
    await admin.keys.rotateKey({ keyId: rotated.id });
    const retired = await make("retired");
    await admin.keys.rotateKey({ keyId: retired.id, gracePeriod: durationFromMs(0) });
    await make("confined", { allowedCidrs: ["10.0.0.0/8"] });
    await make("exhausted", { limits: { requestsPerDay: 1 } });
    await admin.verifier.verify({ secret: secrets.exhausted ?? "" });
    await make("verifying", { scopes: ["claviger:verify"] });
    // Afterwards memory has them, and each way sees the same freshness.
    const known = [...Object.values(secrets), `secret-token:${secrets.plain}`];
    for (const secret of known) await admin.verifier.verify({ secret });
  });
  afterAll(() => claviger?.close());

  /** What a caller with that token gets to see, each way. */
  async function outcomes(request: Request, token: string | undefined): Promise<unknown[]> {
    const seen: unknown[] = [];
    for (const open of Object.values(WAYS)) {
      const client = createClient(KeyVerifier, open(claviger.url));
      const headers = new Headers(token === undefined ? {} : { authorization: `Bearer ${token}` });
      const call = client.verify(create(VerifyRequestSchema, request), { headers });
      seen.push(
        await call.then(
          (answer) => ({
            ...(toJson(VerifyResponseSchema, answer) as object),
            retryAfter: answer.retryAfter !== undefined,
          }),
          () => refusalOf(call),
        ),
      );
    }
    return seen;
  }

  it.each<[string, (of: typeof secrets) => Request, keyof typeof Verdict]>([
    ["a valid key, with everything that it has", ({ plain }) => ({ secret: plain ?? "" }), "VALID"],
    ["scopes that are held", ({ plain }) => ({ secret: plain ?? "", requiredScopes: ["orders:read"] }), "VALID"],
    ["scopes that are not", ({ plain }) => ({ secret: plain ?? "", requiredScopes: ["a:b", "c"] }), "SCOPE_MISSING"],
    ["a method", ({ plain }) => ({ secret: plain ?? "", method: "/a.B/C" }), "VALID"],
    ["RFC 8959's prefix", ({ plain }) => ({ secret: `secret-token:${plain}` }), "VALID"],
    ["a typing error", ({ plain }) => ({ secret: mistype(plain ?? "") }), "MALFORMED"],
    ["nothing", () => ({ secret: "" }), "MALFORMED"],
    ["a forgery", ({ plain }) => ({ secret: forge(plain ?? "") }), "UNKNOWN"],
    ["a revoked key", ({ revoked }) => ({ secret: revoked ?? "" }), "REVOKED"],
    ["a disabled key", ({ disabled }) => ({ secret: disabled ?? "" }), "DISABLED"],
    ["a retiring secret", ({ retiring }) => ({ secret: retiring ?? "" }), "VALID"],
    ["a retired secret", ({ retired }) => ({ secret: retired ?? "" }), "RETIRED"],
    ["an address that is allowed", ({ confined }) => ({ secret: confined ?? "", clientIp: "10.1.2.3" }), "VALID"],
    ["one that is not", ({ confined }) => ({ secret: confined ?? "", clientIp: "::1" }), "ADDRESS_DENIED"],
    ["the environment of the key", ({ plain }) => ({ secret: plain ?? "", environment: Environment.LIVE }), "VALID"],
    [
      "another environment",
      ({ confined }) => ({ secret: confined ?? "", environment: Environment.TEST }),
      "ENVIRONMENT_DENIED",
    ],
    ["a key without quota", ({ exhausted }) => ({ secret: exhausted ?? "" }), "QUOTA_EXHAUSTED"],
  ])("about %s", async (_, requestOf, verdict) => {
    const [first, ...others] = await outcomes(requestOf(secrets), claviger.adminToken);
    expect(first).toMatchObject({ verdict: `VERDICT_${verdict}` });
    for (const other of others) expect(other).toEqual(first);
  });

  it.each<[string, Request]>([
    ["a secret that is too long", { secret: "x".repeat(4097) }],
    ["too many scopes", { requiredScopes: Array.from({ length: 65 }, () => "a:b") }],
    ["a scope that is none", { requiredScopes: ["A b"] }],
    ["a method that is none", { method: "nonsense" }],
    ["an address that is none", { clientIp: "10.0.0.300" }],
    ["a cost below zero", { cost: -1 }],
    ["an environment that there is not", { environment: 7 as Environment }],
  ])("to %s", async (_, request) => {
    const [first, ...others] = await outcomes(request, claviger.adminToken);
    expect(first).toMatchObject({ code: "InvalidArgument", reason: "INVALID_FIELD" });
    for (const other of others) expect(other).toEqual(first);
  });

  it("to callers without a credential, with a wrong one, without the scope, and with it", async () => {
    const request = { secret: secrets.plain ?? "" };
    for (const [token, expected] of [
      [undefined, { code: "Unauthenticated", reason: "CREDENTIAL_MISSING" }],
      ["garbage", { code: "Unauthenticated", reason: "CREDENTIAL_INVALID" }],
      [secrets.revoked, { code: "Unauthenticated", metadata: { verdict: "REVOKED" } }],
      [secrets.plain, { code: "PermissionDenied", reason: "PERMISSION_DENIED" }],
      [secrets.verifying, { verdict: "VERDICT_VALID" }],
    ] as const) {
      const [first, ...others] = await outcomes(request, token);
      expect(first).toMatchObject(expected);
      for (const other of others) expect(other).toEqual(first);
    }
  });

  it("and each way was taken", async () => {
    const before = await lanes();
    await outcomes({ secret: secrets.plain ?? "" }, claviger.adminToken);
    const after = await lanes();
    const gained = ["fast", "router"].map((lane) => (after[lane] ?? 0) - (before[lane] ?? 0));
    expect(gained).toEqual([1, Object.keys(WAYS).length - 1]);
  });
});

it("the quick look at a request never passes what the rules of its proto refuse", () => {
  const validate = createValidate();
  const text = fc.oneof(
    fc.string({ maxLength: 12 }),
    fc.string({ unit: "binary", maxLength: 300 }),
    fc.constantFrom(
      "",
      "a:b",
      "/a.B/C",
      "/é/x",
      "::1",
      "fe80::1%eth0",
      "1.2.3.4",
      "01.2.3.4",
      "::ffff:1.2.3.4",
      "1.2.3",
    ),
    fc.integer({ min: 0, max: 5000 }).map((length) => "x".repeat(length)),
    fc.integer({ min: 0, max: 140 }).map((length) => `a:${"b".repeat(length)}`),
    fc.integer({ min: 0, max: 270 }).map((length) => `/a/${"é".repeat(length)}`),
  );
  const mostly = <T>(right: T, any: fc.Arbitrary<T>) =>
    fc.oneof({ weight: 3, arbitrary: fc.constant(right) }, { weight: 1, arbitrary: any });
  let plain = 0;
  fc.assert(
    fc.property(
      fc.record({
        secret: mostly("x", text),
        requiredScopes: mostly(["a:b"], fc.oneof(fc.array(text, { maxLength: 3 }), fc.constant(Array(65).fill("a")))),
        method: mostly("/a.B/C", text),
        clientIp: mostly("1.2.3.4", text),
        cost: mostly(1, fc.option(fc.integer({ min: -2, max: 5 }), { nil: undefined })),
      }),
      ({ cost, ...fields }) => {
        const request = create(VerifyRequestSchema, { ...fields, ...(cost === undefined ? {} : { cost }) });
        if (!isPlainQuestion(request)) return;
        plain += 1;
        validate(VerifyRequestSchema, request);
      },
    ),
    { numRuns: 3000 },
  );
  expect(plain).toBeGreaterThan(500);
});

describe("bytes that are not one plain message", () => {
  let folders: string[];
  let servers: ServerProcess[];
  let tokens: string[];

  beforeAll(async () => {
    folders = await Promise.all([0, 1].map(() => mkdtemp(join(tmpdir(), "claviger-lanes-"))));
    for (const folder of folders) await cp(inject("embedded").template, join(folder, "database"), { recursive: true });
    const mutate = [
      {
        file: "src/transport/direct/direct-unary.ts",
        find: "if (!facts.isPlain || facts.timeoutMs === undefined) {",
        replace: "if (!facts.isPlain || facts.timeoutMs === undefined || true) {",
      },
    ];
    servers = await Promise.all(
      folders.map((folder, at) =>
        startServer({
          args: ["--data-dir", folder],
          env: { CLAVIGER_LOG_LEVEL: "silent" },
          ...(at === 0 ? {} : { mutate }),
        }),
      ),
    );
    tokens = await Promise.all(
      folders.map(async (folder) => (await readFile(join(folder, "admin-key"), "utf8")).trim()),
    );
  });
  afterAll(async () => {
    await Promise.all((servers ?? []).map((server) => server.stop()));
    await Promise.all((folders ?? []).map((folder) => rm(folder, { recursive: true })));
  });

  interface Sent {
    readonly chunks: readonly Buffer[];
    readonly headers?: Readonly<Record<string, string>>;
    /** What the client does after its last chunk. Default: it ends the stream. */
    readonly finally?: "end" | "reset" | "nothing";
  }

  /** How the call ends: its gRPC code and reason, the reset, or that it was given up. */
  function send(at: number, { chunks, headers = {}, finally: how = "end" }: Sent): Promise<unknown> {
    const session = connectHttp2(servers[at]?.url ?? "");
    const { promise, resolve } = Promise.withResolvers<unknown>();
    session.on("error", () => resolve("session lost"));
    const stream = session.request(
      {
        [constants.HTTP2_HEADER_METHOD]: "POST",
        [constants.HTTP2_HEADER_PATH]: PATH,
        "content-type": "application/grpc+proto",
        te: "trailers",
        authorization: `Bearer ${tokens[at]}`,
        "grpc-timeout": "2S",
        ...headers,
      },
      { endStream: false },
    );
    let status: string | undefined;
    let details: string | undefined;
    let bytes = 0;
    const read = (trailers: Readonly<Record<string, unknown>>) => {
      if (trailers["grpc-status"] === undefined) return;
      status = String(trailers["grpc-status"]);
      details = trailers["grpc-status-details-bin"] as string | undefined;
    };
    stream.on("response", read);
    stream.on("trailers", read);
    stream.on("data", (chunk: Buffer) => {
      bytes += chunk.length;
    });
    stream.on("error", () => undefined);
    stream.on("close", () => {
      const isReset = stream.rstCode !== constants.NGHTTP2_NO_ERROR && status === undefined;
      resolve(
        isReset
          ? `reset ${how === "reset" ? "" : stream.rstCode}`
          : { ...readRefusal(Number(status), details), bytes: bytes > 0 },
      );
    });
    const write = async () => {
      for (const chunk of chunks) {
        if (stream.destroyed || stream.closed) return;
        stream.write(chunk);
        await new Promise((done) => setImmediate(done));
      }
      if (how === "end") stream.end();
      if (how === "reset") stream.close(constants.NGHTTP2_CANCEL);
    };
    void write();
    return promise.finally(() => session.destroy());
  }

  const frame = (message: Uint8Array, { flags = 0, length = message.length } = {}) => {
    const prefix = Buffer.alloc(5);
    prefix[0] = flags;
    prefix.writeUInt32BE(length, 1);
    return Buffer.concat([prefix, message]);
  };
  const TOO_LATE = { code: "DEADLINE_EXCEEDED", reason: "DEADLINE_EXCEEDED", hasRetryInfo: false, bytes: false };
  const MESSAGE = toBinary(VerifyRequestSchema, create(VerifyRequestSchema, { secret: "x" }));

  it.each<[string, Sent, object]>([
    ["nothing at all", { chunks: [] }, { code: "UNIMPLEMENTED" }],
    ["half a prefix", { chunks: [frame(MESSAGE).subarray(0, 3)] }, { code: "INVALID_ARGUMENT" }],
    ["half a message", { chunks: [frame(MESSAGE).subarray(0, 6)] }, { code: "INVALID_ARGUMENT" }],
    ["two messages", { chunks: [frame(MESSAGE), frame(MESSAGE)] }, { code: "UNIMPLEMENTED" }],
    ["a message and something", { chunks: [frame(MESSAGE), Buffer.from("x")] }, { code: "INVALID_ARGUMENT" }],
    ["a compressed message, unasked", { chunks: [frame(MESSAGE, { flags: 1 })] }, { code: "INVALID_ARGUMENT" }],
    ["bytes that are no message", { chunks: [frame(Buffer.from([0x0a, 0xff, 0xff]))] }, { code: "INVALID_ARGUMENT" }],
    [
      "more than a message may have, declared",
      { chunks: [frame(MESSAGE, { length: MAX_MESSAGE_BYTES + 1 })] },
      { code: "RESOURCE_EXHAUSTED" },
    ],
    [
      "more than a message may have, sent",
      { chunks: [frame(Buffer.alloc(MAX_MESSAGE_BYTES + 1))] },
      { code: "RESOURCE_EXHAUSTED" },
    ],
    [
      "a timeout that is none",
      { chunks: [frame(MESSAGE)], headers: { "grpc-timeout": "soon" } },
      { code: "INVALID_ARGUMENT" },
    ],
    [
      "a timeout that passes",
      { chunks: [frame(MESSAGE).subarray(0, 6)], headers: { "grpc-timeout": "50m" }, finally: "nothing" },
      { code: "DEADLINE_EXCEEDED" },
    ],
    [
      "an unknown compression",
      { chunks: [frame(MESSAGE)], headers: { "grpc-encoding": "zip" } },
      { code: "UNIMPLEMENTED" },
    ],
    ["no credential", { chunks: [frame(MESSAGE)], headers: { authorization: "" } }, { code: "UNAUTHENTICATED" }],
    [
      "one byte at a time",
      { chunks: [...frame(MESSAGE)].map((byte) => Buffer.from([byte])) },
      { code: "OK", bytes: true },
    ],
  ])("are answered as the router does: %s", async (_, sent, expected) => {
    const [fast, routed] = await Promise.all([send(0, sent), send(1, sent)]);
    expect(routed).toMatchObject(expected);
    expect(fast).toEqual(routed);
  });

  it("never crash it, and no call hangs, however they are mutated, split, half-closed or reset", async () => {
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 40 }).map((random) => Buffer.from(random)),
      fc
        .tuple(fc.uint8Array({ maxLength: 30 }), fc.integer({ min: 0, max: 3 }), fc.integer({ min: -3, max: 3 }))
        .map(([random, flags, off]) => frame(random, { flags, length: Math.max(0, random.length + off) })),
      fc.constant(frame(MESSAGE)),
    );
    const cuts = fc.array(fc.nat({ max: 50 }), { maxLength: 4 });
    const ends = fc.constantFrom("end", "end", "reset", "nothing") as fc.Arbitrary<NonNullable<Sent["finally"]>>;
    await fc.assert(
      fc.asyncProperty(fc.array(bytes, { maxLength: 3 }), cuts, ends, async (parts, at, how) => {
        const whole = Buffer.concat(parts);
        const places = [0, ...at.map((cut) => cut % (whole.length + 1)).sort((a, b) => a - b), whole.length];
        const chunks = places.slice(1).map((to, index) => whole.subarray(places[index], to));
        const sendBoth = async (timeout: string) => {
          const sent = { chunks, finally: how, headers: { "grpc-timeout": timeout } };
          return [await send(0, sent), await send(1, sent)];
        };
        if (how === "reset") return void (await sendBoth("200m"));
        const [fast, routed] = await sendBoth("200m");
        // On a slow machine, the time of one of the two may end before its answer. Not with a hundred times as much.
        if (!isDeepStrictEqual(fast, routed)) {
          const [fastLater, routedLater] = await sendBoth("20S");
          // The router reads a message before the end of its request, which need not come.
          if (how !== "nothing" || !isDeepStrictEqual(fastLater, TOO_LATE)) expect(fastLater).toEqual(routedLater);
        }
      }),
      { numRuns: 15, endOnFailure: true },
    );
    expect(await send(0, { chunks: [frame(MESSAGE)] })).toMatchObject({ code: "OK", bytes: true });
  });
});
