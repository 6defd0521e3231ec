import { connect as connectHttp2 } from "node:http2";
import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { SyncRequestSchema } from "#gen/claviger/v1/key_verifier_pb.js";
import { DEFAULT_POLICY } from "../../src/server/policy.ts";
import { readRefusal } from "../clients/grpc-refusal.ts";
import { startClaviger, type TestClaviger } from "../support/claviger.ts";

type Said = NonNullable<MessageInitShape<typeof SyncRequestSchema>["message"]>;

const GIVE_BACK = said({ case: "giveBack", value: {} });
const LEASE = said({ case: "lease", value: { nonce: 1n } });
const ASK = said({ case: "ask", value: { id: 1n, request: {} } });
/** The rules want an epoch. */
const REPORT = said({ case: "usage", value: { sequence: 1n } });

function said(message: Said): Buffer {
  return frame(toBinary(SyncRequestSchema, create(SyncRequestSchema, { message })));
}

function frame(message: Uint8Array, { flags = 0, length = message.length } = {}): Buffer {
  const prefix = Buffer.alloc(5);
  prefix[0] = flags;
  prefix.writeUInt32BE(length, 1);
  return Buffer.concat([prefix, message]);
}

/** A deadline sends a stream through the router. */
const WAYS: readonly Readonly<Record<string, string>>[] = [{}, { "grpc-timeout": "20S" }];

describe("a stream of Sync ends the same past the router and through it", () => {
  let claviger: TestClaviger;

  beforeAll(async () => {
    claviger = await startClaviger("embedded");
  });
  afterAll(() => claviger?.close());

  /** How a stream ends to which the chunks were written: its code and reason, and how many messages came before. */
  async function endOf(chunks: readonly Buffer[], headers: Readonly<Record<string, string>>): Promise<object> {
    const session = connectHttp2(claviger.url);
    const stream = session.request({
      ...{ ":method": "POST", ":path": "/claviger.v1.KeyVerifier/Sync", te: "trailers" },
      ...{ "content-type": "application/grpc+proto", authorization: `Bearer ${claviger.adminToken}`, ...headers },
    });
    let [status, details, bytes] = ["", undefined as string | undefined, Buffer.alloc(0)];
    const read = (trailers: Readonly<Record<string, unknown>>) => {
      if (trailers["grpc-status"] === undefined) return;
      status = String(trailers["grpc-status"]);
      details = trailers["grpc-status-details-bin"] as string | undefined;
    };
    stream
      .on("response", read)
      .on("trailers", read)
      .on("error", () => undefined);
    stream.on("data", (chunk: Buffer) => {
      bytes = Buffer.concat([bytes, chunk]);
    });
    const closed = new Promise((resolve) => stream.on("close", resolve));
    for (const chunk of chunks) {
      if (stream.destroyed || stream.closed) break;
      stream.write(chunk);
      await new Promise((done) => setImmediate(done));
    }
    stream.end();
    await closed;
    session.destroy();
    return { ...(status === "0" ? { code: "OK" } : readRefusal(Number(status), details)), messages: countOf(bytes) };
  }

  it.each<[string, Buffer[], object]>([
    ["nothing at all", [], { code: "OK", messages: 0 }],
    ["a lease that is given back", [LEASE, GIVE_BACK], { code: "OK", messages: 1 }],
    ["questions alone, each answered", [Buffer.concat([ASK, ASK]), LEASE, ASK], { code: "OK", messages: 4 }],
    ["bytes one by one", [...LEASE, ...GIVE_BACK].map((byte) => Buffer.from([byte])), { code: "OK", messages: 1 }],
    ["half a prefix", [LEASE.subarray(0, 3)], { code: "INVALID_ARGUMENT", messages: 0 }],
    ["half a message", [LEASE.subarray(0, 6)], { code: "INVALID_ARGUMENT", messages: 0 }],
    ["a compressed message, unasked", [frame(Buffer.from([1]), { flags: 1 })], { code: "INVALID_ARGUMENT" }],
    ["bytes that are no message", [frame(Buffer.from([0x0a, 0xff, 0xff]))], { code: "INVALID_ARGUMENT" }],
    ["a message that says nothing", [frame(Buffer.alloc(0))], { code: "INVALID_ARGUMENT" }],
    ["a report that breaks a rule", [REPORT], { code: "INVALID_ARGUMENT" }],
    [
      "more than a message may have, declared",
      [frame(Buffer.alloc(1), { length: DEFAULT_POLICY.maxMessageBytes + 1 })],
      { code: "RESOURCE_EXHAUSTED" },
    ],
    [
      "more than a message may have, sent",
      [frame(Buffer.alloc(DEFAULT_POLICY.maxMessageBytes + 1))],
      { code: "RESOURCE_EXHAUSTED" },
    ],
  ])("after %s", async (_, chunks, expected) => {
    const [past, through] = await Promise.all(WAYS.map((headers) => endOf(chunks, headers)));
    expect(past).toMatchObject(expected);
    expect(through).toEqual(past);
  });

  it("whoever may not call", async () => {
    const [past, through] = await Promise.all(
      WAYS.map((headers) => endOf([LEASE], { ...headers, authorization: "Bearer nobody" })),
    );
    expect(past).toMatchObject({ code: "UNAUTHENTICATED", reason: "CREDENTIAL_INVALID", messages: 0 });
    expect(through).toEqual(past);
  });

  it("at the deadline that it has", async () => {
    const session = connectHttp2(claviger.url);
    const stream = session.request({
      ...{ ":method": "POST", ":path": "/claviger.v1.KeyVerifier/Sync", te: "trailers", "grpc-timeout": "200m" },
      ...{ "content-type": "application/grpc+proto", authorization: `Bearer ${claviger.adminToken}` },
    });
    const ended = new Promise<Record<string, unknown>>((resolve) => {
      for (const event of ["response", "trailers"])
        stream.on(event, (got) => got["grpc-status"] !== undefined && resolve(got));
    });
    stream.on("error", () => undefined).resume();
    stream.write(LEASE);
    expect((await ended)["grpc-status"]).toBe("4");
    session.destroy();
  });

  const bytes = fc.uint8Array({ maxLength: 40 }).map((array) => Buffer.from(array));
  const codeOf = (end: object) => ("code" in end ? end.code : undefined);

  it("after one message of whatever bytes, in pieces", async () => {
    const message = fc.tuple(bytes, fc.constantFrom(0, 1, 2), fc.constantFrom(undefined, 1, 40, 2 ** 31));
    const cuts = fc.array(fc.nat(45), { maxLength: 4 });
    await fc.assert(
      fc.asyncProperty(message, cuts, async ([body, flags, length = body.length], at) => {
        const chunks = cut(frame(body.subarray(0, length), { flags, length }), at);
        const [past, through] = await Promise.all(WAYS.map((headers) => endOf(chunks, headers)));
        // Connect (2.2) does not miss a message of which it has read the prefix and nothing else.
        if (body.length > 0 || length === 0) expect(through).toEqual(past);
      }),
      { numRuns: 100 },
    );
  });

  it("after whatever comes, and the server goes on", async () => {
    const chunk = fc.oneof(
      bytes,
      bytes.map((each) => frame(each)),
      fc.constantFrom(LEASE, ASK, GIVE_BACK, REPORT),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(chunk, { maxLength: 6 }), async (chunks) => {
        const ends = await Promise.all(WAYS.map((headers) => endOf(chunks, headers)));
        for (const end of ends) expect(codeOf(end)).toMatch(/^(OK|INVALID_ARGUMENT|RESOURCE_EXHAUSTED)$/);
      }),
      { numRuns: 60 },
    );
    expect(await endOf([LEASE, GIVE_BACK], {})).toEqual({ code: "OK", messages: 1 });
  });
});

describe("a client that does not read", () => {
  it("is not read from, and has every answer once it reads", async () => {
    const claviger = await startClaviger("embedded", {
      CLAVIGER_POLICY: JSON.stringify({ syncWaitingBytes: 128 * 1024 }),
    });
    const { secret } = await claviger.admin.keys.createKey({ owner: "deaf", displayName: "k" });
    await claviger.admin.verifier.verify({ secret });
    const { stream, session } = openDeaf(claviger);
    const asks = 5000;
    for (let id = 1; id <= asks; id++)
      stream.write(said({ case: "ask", value: { id: BigInt(id), request: { secret } } }));
    await untilSteady(() => decided(claviger.url));
    expect(await decided(claviger.url)).toBeLessThan(asks / 2);
    let answers = 0;
    const all = new Promise<void>((resolve, reject) => {
      let rest: Buffer = Buffer.alloc(0);
      stream.on("data", (chunk: Buffer) => {
        rest = Buffer.concat([rest, chunk]);
        for (let size = sizeOf(rest); size !== undefined; size = sizeOf(rest)) {
          answers += 1;
          rest = rest.subarray(size);
        }
        if (answers === asks) resolve();
      });
      stream.on("close", () => reject(new Error(`ended after ${answers} answers`)));
    });
    stream.resume();
    await all;
    session.destroy();
    await claviger.close();
  });

  it("is ended when more changes wait than may, and hears why once it reads", async () => {
    const claviger = await startClaviger("embedded", { CLAVIGER_POLICY: JSON.stringify({ syncWaitingBytes: 256 }) });
    const { key, secret } = await claviger.admin.keys.createKey({ owner: "deaf", displayName: "k" });
    const { stream, session } = openDeaf(claviger);
    for (const id of [1n, 2n]) stream.write(said({ case: "ask", value: { id, request: { secret } } }));
    await untilSteady(() => decided(claviger.url));
    const update = (displayName: string) =>
      claviger.admin.keys.updateKey({
        ...{ key: { id: key?.id ?? "", displayName }, updateMask: { paths: ["display_name"] } },
      });
    for (let turn = 0; turn < 80; turn++) await update(`k${turn}`);
    const ended = new Promise<Record<string, unknown>>((resolve) => stream.on("trailers", resolve));
    stream.resume();
    const trailers = await ended;
    expect(readRefusal(Number(trailers["grpc-status"]), String(trailers["grpc-status-details-bin"]))).toMatchObject({
      ...{ code: "RESOURCE_EXHAUSTED", reason: "STREAM_UNREAD" },
    });
    session.destroy();
    await claviger.close();
  });
});

/** A stream whose client has room for next to nothing, and takes nothing. */
function openDeaf({ url, adminToken }: TestClaviger) {
  const session = connectHttp2(url, { settings: { initialWindowSize: 1000 } });
  const stream = session.request({
    ...{ ":method": "POST", ":path": "/claviger.v1.KeyVerifier/Sync", te: "trailers" },
    ...{ "content-type": "application/grpc+proto", authorization: `Bearer ${adminToken}` },
  });
  stream.on("error", () => undefined).pause();
  return { stream, session };
}

/** How many questions were decided on streams. */
async function decided(url: string): Promise<number> {
  const text = await (await fetch(`${url}/metrics`)).text();
  const counts = [...text.matchAll(/^claviger_verifications_total\{[^}]*lane="sync"\} (\d+)$/gm)];
  return counts.reduce((sum, [, count]) => sum + Number(count), 0);
}

async function untilSteady(read: () => Promise<number>): Promise<void> {
  for (let [last, same] = [-1, 0]; same < 5; ) {
    const now = await read();
    same = now === last && now > 0 ? same + 1 : 0;
    last = now;
    await new Promise((done) => setTimeout(done, 50));
  }
}

function cut(bytes: Buffer, at: readonly number[]): Buffer[] {
  const places = [0, ...at.toSorted((one, other) => one - other), bytes.length];
  return places.slice(1).map((end, index) => bytes.subarray(places[index], end));
}

function sizeOf(bytes: Buffer): number | undefined {
  const size = bytes.length < 5 ? Number.POSITIVE_INFINITY : 5 + bytes.readUInt32BE(1);
  return size > bytes.length ? undefined : size;
}

function countOf(bytes: Buffer): number {
  let count = 0;
  for (let rest = bytes, size = sizeOf(rest); size !== undefined; size = sizeOf(rest)) {
    count += 1;
    rest = rest.subarray(size);
  }
  return count;
}
