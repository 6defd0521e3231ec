import { create, type DescMessage, fromBinary, toBinary } from "@bufbuild/protobuf";
import { durationFromMs, type Timestamp } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, createClient, type Transport } from "@connectrpc/connect";
import {
  compressionGzip,
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
} from "@connectrpc/connect-node";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { KeyManagement } from "#gen/claviger/v1/key_management_pb.js";
import { type Key, KeySchema } from "#gen/claviger/v1/key_pb.js";
import { KeyVerifier, SyncRequestSchema } from "#gen/claviger/v1/key_verifier_pb.js";
import { startClaviger, type TestClaviger } from "../../testkit/claviger.ts";
import { endOf, frame, openRaw, sayAll, WAYS } from "../../testkit/raw-sync.ts";
import { refusalOf } from "../../testkit/refusal.ts";
import { makeKey } from "./make-key.ts";

const SECRET = `clv_live_${"a1B2".repeat(12)}x`;
const DAY_MS = 86_400_000;
/** Field 1999, of type varint, holding 1. */
const UNKNOWN = Buffer.from("f87c01", "hex");

let claviger: TestClaviger;
beforeAll(async () => {
  claviger = await startClaviger("embedded", { CLAVIGER_LEASE_MS: "60000" });
});
afterAll(() => claviger?.close());

interface JsonAnswer {
  readonly status: number;
  readonly text: string;
  readonly reason: string | undefined;
  readonly fields: readonly string[];
}

/** Sends a body as JSON, as it is. */
async function post(method: string, body: string): Promise<JsonAnswer> {
  const response = await fetch(`${claviger.url}/${method}`, {
    method: "POST",
    headers: { "content-type": "application/json", authorization: `Bearer ${claviger.adminToken}` },
    body,
  });
  const text = await response.text();
  const { details = [] } = JSON.parse(text || "{}") as { details?: { debug?: Record<string, unknown> }[] };
  const violations = details.flatMap(({ debug }) => (debug?.fieldViolations ?? []) as { field: string }[]);
  const reason = details.map(({ debug }) => debug?.reason).find((found) => typeof found === "string");
  return { status: response.status, text, reason, fields: violations.map(({ field }) => field) };
}

const KEYS = "claviger.v1.KeyManagement";
const VERIFIER = "claviger.v1.KeyVerifier";

describe("a JSON request with a field that the method does not have", () => {
  it.each<[string, string, string]>([
    [`${VERIFIER}/Verify`, `{"secret":"x","scopes":["admin:all"]}`, "scopes"],
    [`${VERIFIER}/Verify`, `{"secret":"x","required_scope":"admin:all"}`, "required_scope"],
    [`${VERIFIER}/Verify`, `{"secrett":"x"}`, "secrett"],
    [`${VERIFIER}/BatchVerify`, `{"requests":[{"secret":"x"},{"secret":"x","scopes":[]}]}`, "requests[1].scopes"],
    [`${KEYS}/CreateKey`, `{"owner":"a","displayName":"k","scope":["a:b"]}`, "scope"],
    [`${KEYS}/CreateKey`, `{"owner":"a","displayName":"k","limits":{"perDay":1}}`, "limits.perDay"],
    [`${KEYS}/UpdateKey`, `{"key":{"id":"x","allowedCidr":[]},"updateMask":"allowedCidrs"}`, "key.allowedCidr"],
    [`${KEYS}/GetKey`, `{"id":"x"}`, "id"],
    [`${KEYS}/ListKeys`, `{"owners":"x"}`, "owners"],
    [`${KEYS}/RotateKey`, `{"keyId":"x","grace":"0s"}`, "grace"],
    [`${KEYS}/RetireSecret`, `{"keyId":"x","secretVersion":1}`, "secretVersion"],
    [`${KEYS}/RevokeKey`, `{"keyId":"x","why":1}`, "why"],
    [`${KEYS}/RevokeKeys`, `{"labels":{"a":"b"},"owner":"x"}`, "labels"],
    [`${KEYS}/ReportLeakedSecret`, `{"secret":"x","where":"y"}`, "where"],
    [`${KEYS}/QueryUsage`, `{"key":"x"}`, "key"],
    [`${KEYS}/ListAuditEvents`, `{"since":"x"}`, "since"],
  ])("is refused by %s: %s", async (method, body, field) => {
    expect(await post(method, body)).toMatchObject({ status: 400, reason: "INVALID_FIELD", fields: [field] });
  });

  it("is refused without quoting what it held, nor a name that looks like a secret", async () => {
    for (const body of [
      `{"password":"${SECRET}"}`,
      `{"${SECRET}":1}`,
      `{"ttl":"${SECRET}"}`,
      `{"owner":["${SECRET}"]}`,
    ]) {
      const answer = await post(`${KEYS}/CreateKey`, body);
      expect(answer).toMatchObject({ status: 400, reason: "INVALID_FIELD" });
      expect(answer.text).not.toContain(SECRET.slice(9, 29));
      // Details are also there in binary, as base64.
      for (const [, encoded = ""] of answer.text.matchAll(/"value":"([^"]+)"/g)) {
        expect(Buffer.from(encoded, "base64").toString()).not.toContain(SECRET.slice(9, 29));
      }
    }
  });

  it("is taken by the health service, which keeps protobuf's usual tolerance", async () => {
    const health = await post("grpc.health.v1.Health/Check", `{"unknown":1}`);
    expect(health.status).toBe(200);
  });
});

describe("a JSON request with a field of the wrong form", () => {
  it.each([
    [`{"displayName":"k","ttl":"5d"}`, "ttl", "3600s"],
    [`{"displayName":"k","environment":"prod"}`, "environment", "ENVIRONMENT_LIVE"],
    [`{"displayName":"k","metadata":[1]}`, "metadata", "JSON object"],
    [`{"displayName":"k","metadata":{"a":1e999}}`, "metadata", "finite"],
    [`{"displayName":"k","metadata":{"a":"\\ud800"}}`, "metadata", "surrogate"],
    [`{"displayName":"k","metadata":{"\\ud800":1}}`, "metadata", "surrogate"],
    [`{"displayName":"k","metadata":{"m":${"[".repeat(16)}${"]".repeat(16)}}}`, "metadata", "16 levels"],
    [`{"displayName":"k","metadata":{"m":${"[".repeat(60)}${"]".repeat(60)}}}`, "metadata", "16 levels"],
    [`{"displayName":"k","metadata":{"m":${"[".repeat(5000)}${"]".repeat(5000)}}}`, "metadata", "16 levels"],
    [`{"displayName":"k","owner":"\\ud800"}`, "owner", "must be"],
    [`{"displayName":"k","ttl":"7776000.000000001s"}`, "ttl", "at most"],
  ])("is refused, and the error says which and what is right: %.80s", async (body, field, right) => {
    const answer = await post(`${KEYS}/CreateKey`, body);
    expect(answer).toMatchObject({ status: 400, reason: "INVALID_FIELD", fields: [field] });
    expect(answer.text).toContain(right);
  });
});

/** Each way that a binary request can come in; `Verify` goes past the router by the first. */
const WAYS_IN: Readonly<Record<string, (baseUrl: string) => Transport>> = {
  "plain gRPC": (baseUrl) => createGrpcTransport({ baseUrl }),
  "compressed gRPC": (baseUrl) =>
    createGrpcTransport({ baseUrl, sendCompression: compressionGzip, compressMinBytes: 0 }),
  "gRPC-Web": (baseUrl) => createGrpcWebTransport({ baseUrl, httpVersion: "2" }),
  Connect: (baseUrl) => createConnectTransport({ baseUrl, httpVersion: "2", useBinaryFormat: true }),
};

describe("a binary request with a field that this server does not know", () => {
  const unknown = <Desc extends DescMessage>(schema: Desc) => fromBinary(schema, UNKNOWN);

  it.each(Object.keys(WAYS_IN))("is refused over %s, also inside another message", async (name) => {
    const transport = WAYS_IN[name]?.(claviger.url);
    if (transport === undefined) throw new Error("no such way");
    const headers = { authorization: `Bearer ${claviger.adminToken}` };
    const verifier = createClient(KeyVerifier, transport);
    const keys = createClient(KeyManagement, transport);
    const inner = unknown(KeyVerifier.method.verify.input);
    const ofKeys = unknown(KeyManagement.method.revokeKeys.input);
    for (const [call, field] of [
      [() => verifier.verify(inner, { headers }), "1999"],
      [() => verifier.batchVerify({ requests: [{}, inner] }, { headers }), "requests[1].1999"],
      [() => keys.revokeKeys({ ...ofKeys, owner: "nobody" }, { headers }), "1999"],
      [() => keys.listKeys(unknown(KeyManagement.method.listKeys.input), { headers }), "1999"],
    ] as const) {
      expect(await refusalOf(call())).toMatchObject({
        code: "InvalidArgument",
        reason: "INVALID_FIELD",
        fields: [field],
      });
    }
  });

  it.each(WAYS)("ends a stream of Sync, or is the answer to an Ask, %s", async (_, headers) => {
    for (const message of [UNKNOWN, Buffer.concat([Buffer.from([0x0a, UNKNOWN.length]), UNKNOWN])]) {
      const raw = openRaw(claviger, headers);
      await sayAll(raw, [frame(message)]);
      expect(await endOf(raw)).toMatchObject({ code: "INVALID_ARGUMENT", reason: "INVALID_FIELD" });
    }
    const request = unknown(KeyVerifier.method.verify.input);
    const ask = create(SyncRequestSchema, { message: { case: "ask", value: { id: 7n, request } } });
    const raw = openRaw(claviger, headers);
    await sayAll(raw, [frame(toBinary(SyncRequestSchema, ask))]);
    expect(await endOf(raw)).toEqual({ code: "OK", messages: 1 });
  });
});

describe("UpdateKey", () => {
  it("holds prefixes, names and metadata to the rules of CreateKey", async () => {
    const { admin } = claviger;
    const { id } = await makeKey(admin, { owner: "door-update" });
    const wrong: readonly (readonly [Partial<Key>, string, string])[] = [
      [{ allowedCidrs: ["10.0.0.0/8", "::1:/128"] }, "allowed_cidrs", "key.allowed_cidrs[1]"],
      [{ displayName: "a\u200bb" }, "display_name", "key.display_name"],
      [{ displayName: SECRET }, "display_name", "key.display_name"],
      [{ metadata: { a: Number.POSITIVE_INFINITY } }, "metadata", "key.metadata"],
      [{ metadata: { a: Number.NaN } }, "metadata", "key.metadata"],
      [{ metadata: { a: SECRET } }, "metadata", "key.metadata"],
      [{ labels: { a: SECRET } }, "labels", 'key.labels["a"]'],
    ];
    for (const [key, path, field] of wrong) {
      const call = admin.keys.updateKey({
        key: Object.assign(create(KeySchema, { id }), key),
        updateMask: { paths: [path] },
      });
      expect(await refusalOf(call)).toMatchObject({ reason: "INVALID_FIELD", fields: [field] });
    }
  });
});

describe("CreateKey", () => {
  it.each([
    ["a prefix that verification cannot read", { allowedCidrs: ["10.0.0.0/8", "::ffff:0:0:/96"] }, "allowed_cidrs[1]"],
    ["a secret for its owner", { owner: SECRET }, "owner"],
    ["a secret in its name", { displayName: `of ${SECRET}` }, "display_name"],
    ["a secret in a label", { labels: { a: SECRET } }, 'labels["a"]'],
    ["a secret in its metadata", { metadata: { a: [SECRET] } }, "metadata"],
    ["a number that is none", { metadata: { a: Number.NaN } }, "metadata"],
    ["an owner that ends in a space", { owner: "door " }, "owner"],
    ["an owner with a C1 control character", { owner: "door\u0085x" }, "owner"],
    ["an owner with an invisible character", { owner: "do\u200bor" }, "owner"],
    ["an owner that looks like a reserved one", { owner: "\uff23laviger\uff1aadmin" }, "owner"],
    ["a name with a C1 control character", { displayName: "a\u0085b" }, "display_name"],
    ["90 days and a nanosecond", { ttl: { seconds: 7_776_000n, nanos: 1 } }, "ttl"],
    ["a duration of both signs", { ttl: { seconds: 100n, nanos: -1 } }, "ttl"],
    ["a duration without end", { ttl: { seconds: 2n ** 62n, nanos: 0 } }, "ttl"],
  ])("refuses %s, and echoes no secret", async (_, request, field) => {
    const call = claviger.admin.keys.createKey({ owner: "door", displayName: "k", ...request });
    const refusal = await refusalOf(call);
    expect(refusal).toMatchObject({ code: "InvalidArgument", reason: "INVALID_FIELD", fields: [field] });
    expect(JSON.stringify(refusal)).not.toContain(SECRET.slice(9));
  });

  it("takes 90 days to the nanosecond, and a rotation 24 hours of grace", async () => {
    const { admin } = claviger;
    const { id } = await makeKey(admin, { owner: "door-exact", ttl: durationFromMs(90 * DAY_MS) });
    const over = admin.keys.rotateKey({ keyId: id, gracePeriod: { seconds: 86_400n, nanos: 1 } });
    expect(await refusalOf(over)).toMatchObject({ fields: ["grace_period"] });
    await admin.keys.rotateKey({ keyId: id, gracePeriod: { seconds: 86_400n, nanos: 0 } });
  });
});

it("a filter that holds a secret is refused, and the secret is not echoed", async () => {
  const { keys } = claviger.admin;
  for (const call of [
    () => keys.listKeys({ owner: SECRET }),
    () => keys.listKeys({ labelSelector: { a: SECRET } }),
    () => keys.revokeKeys({ owner: SECRET }),
    () => keys.listAuditEvents({ actor: SECRET }),
    () => keys.listAuditEvents({ owner: SECRET }),
  ]) {
    const refusal = await refusalOf(call());
    expect(refusal).toMatchObject({ code: "InvalidArgument", reason: "INVALID_FIELD" });
    expect(JSON.stringify(refusal)).not.toContain(SECRET.slice(9));
  }
});

describe("whatever the door lets in", () => {
  const odd = fc.constantFrom(
    ...[
      "",
      "\u0000",
      "\u0085",
      "\u200b",
      "\u202e",
      "\ufffe",
      "\u{10ffff}",
      "é",
      "e\u0301",
      "\\",
      "'",
      '"',
      "%",
      "{}",
      "$1",
    ],
    ...["constructor", "__proto__", "NaN", "-0", "null", SECRET.slice(0, 20), "\ud83d\ude00", "\u2028"],
  );
  const text = fc.oneof(
    fc.string({ unit: "binary", maxLength: 20 }),
    odd,
    fc.tuple(odd, odd).map(([a, b]) => a + b),
  );
  // JSON has no negative zero: it comes back as zero.
  const number = fc
    .oneof(fc.constantFrom(0, 1e308, -1e308, 5e-324, 2 ** 53, Number.NaN, Number.POSITIVE_INFINITY), fc.double())
    .map((some) => some + 0);
  const { value } = fc.letrec<{ value: unknown }>((tie) => ({
    value: fc.oneof(
      { depthSize: "medium", withCrossShrink: true },
      ...[text, number, fc.boolean(), fc.constant(null)],
      ...[fc.array(tie("value"), { maxLength: 3 }), fc.dictionary(text, tie("value"), { maxKeys: 3 })],
    ),
  }));
  const cidr = fc
    .tuple(
      fc.oneof(fc.ipV4(), fc.ipV6(), text),
      fc.constantFrom("/", "/0", "/8", "/32", "/96", "/128", ":/64", "%1/64"),
    )
    .map(([address, bits]) => address + bits);
  const mostly = <T>(right: T, any: fc.Arbitrary<T>) =>
    fc.oneof({ weight: 3, arbitrary: fc.constant(right) }, { weight: 1, arbitrary: any });
  const span = fc.record({
    seconds: fc.oneof(fc.bigInt({ min: -5n, max: 7_776_001n }), fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n })),
    nanos: fc.oneof(fc.constant(0), fc.integer()),
  });
  const request = fc.record(
    {
      displayName: mostly("k", text),
      scopes: mostly(
        ["a:b"],
        fc.array(fc.oneof(text, fc.constantFrom("*", "a:*", "claviger:verify")), { maxLength: 3 }),
      ),
      labels: mostly({ a: "b" }, fc.dictionary(fc.oneof(text, fc.constant("team")), text, { maxKeys: 3 })),
      metadata: fc.dictionary(text, value, { maxKeys: 4 }),
      allowedCidrs: mostly([] as string[], fc.array(cidr, { maxLength: 3 })),
      limits: mostly(
        {},
        fc.record({ requestsPerSecond: fc.integer(), burst: fc.integer(), requestsPerDay: fc.integer() }),
      ),
      ttl: mostly(durationFromMs(DAY_MS), span as fc.Arbitrary<ReturnType<typeof durationFromMs>>),
      requestId: mostly("", fc.oneof(fc.uuid(), text)),
    },
    { requiredKeys: ["displayName"] },
  );

  it("is taken by each consumer: verification, batch, list, change, audit, in binary and as JSON", async () => {
    const { admin } = claviger;
    const asJson = createConnectTransport({ baseUrl: claviger.url, httpVersion: "1.1", useBinaryFormat: false });
    const headers = { authorization: `Bearer ${claviger.adminToken}` };
    const json = { keys: createClient(KeyManagement, asJson), verifier: createClient(KeyVerifier, asJson) };
    let [taken, number] = [0, 0];
    await fc.assert(
      fc.asyncProperty(request, text, async (fields, ownerPart) => {
        number += 1;
        const owner = `door-${number % 3 === 0 ? ownerPart : ""}${number}`;
        const made = await admin.keys.createKey({ owner, ...(fields as object) }).catch((error: unknown) => {
          const { code, rawMessage } = ConnectError.from(error);
          expect([Code[code], rawMessage]).toEqual(["InvalidArgument", expect.stringMatching(/Correct it/)]);
        });
        if (made?.key === undefined) return;
        taken += 1;
        const { key, secret } = made;
        for (const clientIp of ["", "10.0.0.1", "::1"]) await admin.verifier.verify({ secret, clientIp });
        const batch = { requests: [{ secret }, { secret: "x" }] };
        expect((await json.verifier.batchVerify(batch, { headers })).responses[0]?.key?.id).toBe(key.id);
        const read = (await json.keys.getKey({ keyId: key.id }, { headers })).key;
        expect(read).toEqual(key);
        expect((await json.keys.listKeys({ owner, pageSize: 1 }, { headers })).keys).toEqual([key]);
        // What was read can be sent back.
        const paths = ["display_name", "scopes", "labels", "metadata", "allowed_cidrs"];
        const changed = await admin.keys.updateKey({ key: { ...key, displayName: "renamed" }, updateMask: { paths } });
        expect(changed.key?.metadata).toEqual(key.metadata);
        await admin.keys.revokeKey({ keyId: key.id });
        const audit = await json.keys.listAuditEvents({ keyId: key.id }, { headers });
        expect(audit.events.map(({ action }) => action)).toEqual(["key.revoked", "key.updated", "key.created"]);
      }),
      { numRuns: 100 },
    );
    expect(taken).toBeGreaterThan(20);
  });

  it("as a filter, a time or a page, is a page or a refusal, never a defect", async () => {
    const { keys } = claviger.admin;
    const time = fc.record({ seconds: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), nanos: fc.integer() });
    const some = fc.option(fc.oneof(time, fc.constant({ seconds: 1n, nanos: 5 })), { nil: undefined });
    await fc.assert(
      fc.asyncProperty(text, text, some, some, async (one, two, from, to) => {
        const times = { startTime: from as Timestamp | undefined, endTime: to as Timestamp | undefined };
        const calls: Promise<unknown>[] = [
          keys.listKeys({
            owner: one,
            labelSelector: { a: two },
            pageToken: two,
            expiresBefore: times.startTime ?? {},
          }),
          keys.listAuditEvents({
            owner: one,
            actor: two,
            startTime: times.startTime ?? {},
            endTime: times.endTime ?? {},
          }),
          keys.queryUsage({ owner: one, startTime: times.startTime ?? {}, endTime: times.endTime ?? {} }),
        ];
        const isRefusal = (error: unknown) => expect(Code[ConnectError.from(error).code]).toBe("InvalidArgument");
        await Promise.all(calls.map((call) => call.catch(isRefusal)));
      }),
      { numRuns: 60 },
    );
  });
});
