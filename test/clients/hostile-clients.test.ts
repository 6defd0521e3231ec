import { cp, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create, toBinary } from "@bufbuild/protobuf";
import { createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { afterAll, beforeAll, describe, expect, inject, it, onTestFinished } from "vitest";
import { SyncRequestSchema, VerifyRequestSchema } from "#gen/claviger/v1/key_verifier_pb.js";
import { Health } from "#gen/grpc/health/v1/health_pb.js";
import { callFrames, FLAG, frame, greeting, headerBlock, reset, TYPE, uint32 } from "../../testkit/http2-frames.ts";
import type { Mutation } from "../../testkit/mutation.ts";
import { type ServerProcess, startServer } from "../../testkit/server-process.ts";
import { PATHS } from "./connection-plan.ts";
import { type Cost, play, type Script } from "./hostile-connection.ts";

/** Server CPU for a byte of an attack, against a byte of ordinary calls the same way. */
const MOST_RATIO = 20;
const ROUNDS = 3;
const FORM = "application/grpc+proto";

const prefixed = (message: Uint8Array) => Buffer.concat([Buffer.from([0]), uint32(message.length), message]);
const ofBytes = (count: number) => prefixed(new Uint8Array(count));
const EMPTY = prefixed(new Uint8Array());
const LEASE = prefixed(
  toBinary(SyncRequestSchema, create(SyncRequestSchema, { message: { case: "lease", value: { nonce: 1n } } })),
);
const APPLIED = prefixed(
  toBinary(SyncRequestSchema, create(SyncRequestSchema, { message: { case: "applied", value: { sequence: 1n } } })),
);

function inPieces(bytes: Buffer, size: number): Buffer[] {
  return Array.from({ length: Math.ceil(bytes.length / size) }, (_, at) => bytes.subarray(at * size, (at + 1) * size));
}

function repeat(count: number, make: (at: number) => Buffer): Buffer {
  return Buffer.concat(Array.from({ length: count }, (_, at) => make(at)));
}

/** As an ordinary client's socket hands them out; a server that ends the connection has read most of them. */
const PIECE_BYTES = 8 * 1024;
const MARK = "the end.";
const PING = frame(TYPE.ping, FLAG.none, 0, Buffer.from(MARK));

/** With a window for all that is answered. */
const GREETING = Buffer.concat([greeting(), frame(TYPE.windowUpdate, FLAG.none, 0, uint32(2 ** 30))]);

/** A connection of HTTP/2. */
function http2(bytes: Buffer, more: Partial<Script> = {}): Script {
  const pieces = [GREETING, ...inPieces(bytes, PIECE_BYTES)];
  return { pieces, last: { bytes: PING, answer: MARK }, paceMs: 1, ...more };
}

interface Caller {
  readonly authorization?: string;
}

function heads(path: string, caller: Caller) {
  return callFrames(path, { "content-type": FORM, ...caller });
}

/** Calls one after the other on one connection, each whole; as many at once as may be open. */
function calls(path: string, body: Buffer, { count, ...caller }: Caller & { readonly count: number }): Script {
  const { head } = heads(path, caller);
  const call = (at: number) => Buffer.concat([head(2 * at + 1), frame(TYPE.data, FLAG.endStream, 2 * at + 1, body)]);
  const pieces = Array.from({ length: count / 100 }, (_, turn) => repeat(100, (at) => call(turn * 100 + at)));
  return http2(Buffer.alloc(0), { pieces: [GREETING, ...pieces], paceMs: 60 });
}

/** One call whose body comes in DATA frames of that size. */
function dataFrames(path: string, body: Buffer, { size, ...caller }: Caller & { readonly size: number }): Script {
  const data = inPieces(body, size).map((piece) => frame(TYPE.data, FLAG.none, 1, piece));
  return http2(Buffer.concat([heads(path, caller).head(1), ...data]), { connections: 5 });
}

function frames(one: Buffer, count: number): Script {
  return http2(repeat(count, () => one));
}

/** A block of header fields in so many CONTINUATION frames. */
function continued(count: number): Script {
  const block = headerBlock({ ":method": "POST", ":scheme": "http", ":path": PATHS.verify, ":authority": "x" });
  const more = repeat(count, () => frame(TYPE.continuation, FLAG.none, 1, headerBlock({ x: "y" })));
  return http2(Buffer.concat([frame(TYPE.headers, FLAG.none, 1, block), more]));
}

/** The head of each call, and then what `rest` makes for its stream. */
function begun(path: string, count: number, rest: (stream: number) => Buffer, caller: Caller = {}): Script {
  const { head } = heads(path, caller);
  return http2(
    repeat(count, (at) => Buffer.concat([head(2 * at + 1), rest(2 * at + 1)])),
    { paceMs: 10 },
  );
}

function http1Head(path: string, headers: Readonly<Record<string, string | number>>): Buffer {
  const fields = Object.entries({ host: "x", ...headers }).map(([name, value]) => `${name}: ${value}`);
  return Buffer.from([`POST ${path} HTTP/1.1`, ...fields, "", ""].join("\r\n"));
}

const NEXT = { bytes: Buffer.from("GET /nothing HTTP/1.1\r\nhost: x\r\n\r\n") };
const HANG_UP = { bytes: Buffer.from("GET /nothing HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n") };

function http1Calls(path: string, count: number): Script {
  const head = http1Head(path, { "content-type": "application/json", "content-length": 2 });
  const pieces = Array.from({ length: count / 10 }, () => repeat(10, () => Buffer.concat([head, Buffer.from("{}")])));
  return { pieces, last: HANG_UP, paceMs: 5 };
}

function http1Chunks(path: string, count: number): Script {
  const head = http1Head(path, { "content-type": "application/json", "transfer-encoding": "chunked" });
  const body = Buffer.concat([repeat(count, () => Buffer.from("1\r\n \r\n")), Buffer.from("0\r\n\r\n")]);
  return { pieces: inPieces(Buffer.concat([head, body]), PIECE_BYTES), last: HANG_UP, paceMs: 1, connections: 5 };
}

interface Running extends ServerProcess {
  /** An administrator's secret. */
  readonly token: string;
}

describe("what a hostile client sends", () => {
  let server: Running;
  const folders: string[] = [];
  const ordinary = new Map<string, number>();

  const start = async (policy: object = {}, mutations: readonly Mutation[] = []) => {
    const folder = await mkdtemp(join(tmpdir(), "claviger-"));
    folders.push(folder);
    await cp(inject("embedded").template, join(folder, "database"), { recursive: true });
    const settings = { CLAVIGER_DATA_DIR: folder, CLAVIGER_LOG_LEVEL: "silent" };
    const env = { ...settings, CLAVIGER_POLICY: JSON.stringify({ port: policy }) };
    const started = await startServer({ env, mutate: mutations });
    return { ...started, token: (await readFile(join(folder, "admin-key"), "utf8")).trim() };
  };
  const verifyBody = () =>
    prefixed(toBinary(VerifyRequestSchema, create(VerifyRequestSchema, { secret: server.token })));
  const known = () => ({ authorization: `Bearer ${server.token}` });

  /** Microseconds of the server for a byte. */
  const perByte = ({ cpuSeconds, bytes }: Cost) => (cpuSeconds * 1e6) / bytes;
  const median = async (script: () => Script, target: Running = server): Promise<number> => {
    const costs: number[] = [];
    for (let round = 0; round < ROUNDS; round++) costs.push(perByte(await play(target, script())));
    return costs.sort((a, b) => a - b)[Math.floor(ROUNDS / 2)] ?? 0;
  };

  const ORDINARY = {
    "past the router": () => calls(PATHS.verify, verifyBody(), { ...known(), count: 2000 }),
    "through the router": () => calls(PATHS.health, EMPTY, { count: 1000 }),
    "over HTTP/1.1": () => http1Calls(PATHS.health, 1000),
  } as const;

  beforeAll(async () => {
    server = await start();
    for (const [way, script] of Object.entries(ORDINARY)) {
      await play(server, script());
      ordinary.set(way, await median(script));
    }
  });
  afterAll(async () => {
    await server?.stop();
    await Promise.all(folders.map((folder) => rm(folder, { recursive: true, force: true })));
  });

  const isAnswering = async ({ url }: ServerProcess) =>
    expect(await createClient(Health, createGrpcTransport({ baseUrl: url })).check({})).toBeDefined();

  const forged = { authorization: "Bearer nonsense" };
  const KINDS: readonly (readonly [kind: string, way: keyof typeof ORDINARY, script: () => Script])[] = [
    [
      "one-byte DATA frames to Verify, without a key",
      "past the router",
      () => dataFrames(PATHS.verify, ofBytes(6400), { size: 1 }),
    ],
    [
      "one-byte DATA frames to Verify",
      "past the router",
      () => dataFrames(PATHS.verify, ofBytes(20_000), { size: 1, ...known() }),
    ],
    [
      "one-byte DATA frames to Sync",
      "past the router",
      () => dataFrames(PATHS.sync, ofBytes(20_000), { size: 1, ...known() }),
    ],
    [
      "one-byte DATA frames to health",
      "through the router",
      () => dataFrames(PATHS.health, ofBytes(20_000), { size: 1 }),
    ],
    [
      "one-byte DATA frames to reflection",
      "through the router",
      () => dataFrames(PATHS.reflection, ofBytes(20_000), { size: 1 }),
    ],
    [
      "one-byte DATA frames to ListKeys, without a key",
      "through the router",
      () => dataFrames(PATHS.listKeys, ofBytes(20_000), { size: 1 }),
    ],
    [
      "DATA frames of 70 bytes to health",
      "through the router",
      () => dataFrames(PATHS.health, ofBytes(60_000), { size: 70 }),
    ],
    ["one-byte chunks to health", "over HTTP/1.1", () => http1Chunks(PATHS.health, 20_000)],
    ["one-byte chunks to ListKeys, without a key", "over HTTP/1.1", () => http1Chunks(PATHS.listKeys, 20_000)],
    ["one-byte chunks to a path that is not there", "over HTTP/1.1", () => http1Chunks(PATHS.nothing, 20_000)],
    [
      "empty DATA frames",
      "past the router",
      () => begun(PATHS.verify, 1, () => repeat(20_000, () => frame(TYPE.data, FLAG.none, 1))),
    ],
    ["PINGs", "past the router", () => frames(frame(TYPE.ping, FLAG.none, 0, Buffer.alloc(8)), 12_000)],
    ["SETTINGS", "past the router", () => frames(frame(TYPE.settings, FLAG.none, 0), 20_000)],
    ["WINDOW_UPDATEs", "past the router", () => frames(frame(TYPE.windowUpdate, FLAG.none, 0, uint32(1)), 16_000)],
    [
      "heads with a malformed key to Verify",
      "past the router",
      () => begun(PATHS.verify, 2000, () => Buffer.alloc(0), forged),
    ],
    [
      "heads with a malformed key to ListKeys",
      "through the router",
      () => begun(PATHS.listKeys, 2000, () => Buffer.alloc(0), forged),
    ],
    ["header fields in CONTINUATION frames", "past the router", () => continued(10_000)],
    ["calls that are taken back at once", "past the router", () => begun(PATHS.verify, 3000, reset)],
    [
      "acknowledgements on Sync",
      "past the router",
      () =>
        dataFrames(PATHS.sync, Buffer.concat([LEASE, repeat(8000, () => APPLIED)]), {
          size: APPLIED.length,
          ...known(),
        }),
    ],
    [
      "slow bodies",
      "past the router",
      () => {
        const head = heads(PATHS.verify, known()).head(1);
        const pieces = Array.from({ length: 100 }, () => frame(TYPE.data, FLAG.none, 1, Buffer.alloc(1)));
        return http2(head, { pieces: [GREETING, head, ...pieces], paceMs: 5, connections: 20 });
      },
    ],
  ];

  it.each(KINDS)("%s cost no more CPU for a byte than 20 ordinary calls %s", async (_, way, script) => {
    const ratio = (await median(script)) / (ordinary.get(way) ?? 0);
    expect(ratio).toBeLessThan(MOST_RATIO);
    await isAnswering(server);
  });

  const COPIES = 1;

  it("control: cost more where each DATA frame has the bytes before it copied, and none are counted", async () => {
    const slow = await start({ maxTinyPieces: 1e9 }, [
      {
        file: "src/transport/direct/received-bytes.ts",
        find: "    if (size > this.#bytes.length) this.#grow(size);",
        replace: `    const all = ((this as { all?: Buffer[] }).all ??= [...this.bytes].map((byte) => Buffer.of(byte)));
          all.push(chunk);
          for (let copy = 0; copy < ${COPIES}; copy++) Buffer.concat(all);
          if (size > this.#bytes.length) this.#grow(size);`,
      },
    ]);
    onTestFinished(async () => void (await slow.stop()));
    const authorization = `Bearer ${slow.token}`;
    const attack = dataFrames(PATHS.verify, ofBytes(16_000), { size: 1, authorization });
    const ratio = perByte(await play(slow, { ...attack, connections: 1 })) / (ordinary.get("past the router") ?? 0);
    expect(ratio).toBeGreaterThan(MOST_RATIO);
  });

  it("ends a connection that sends bodies in tiny pieces, whatever the lane and the version", async () => {
    for (const path of [PATHS.verify, PATHS.sync, PATHS.health, PATHS.reflection, PATHS.listKeys]) {
      const { ended } = await play(server, dataFrames(path, ofBytes(20_000), { size: 1, ...known() }));
      expect([path, ended]).toEqual([path, 5]);
    }
    // Over HTTP/1.1, Node drops bodies after a refusal unseen; otherwise the call after it is answered.
    const chunks = { ...http1Chunks(PATHS.health, 5000), last: { ...NEXT, answer: "HTTP/1.1 404" } };
    expect((await play(server, chunks)).ended).toBe(5);
  });

  it.each([
    ["past the router", {}],
    ["through the router", { "grpc-timeout": "60S" }],
  ])("is not an agent that streams many small messages, each with its prefix apart, %s", async (_, headers) => {
    const { head } = callFrames(PATHS.sync, { "content-type": FORM, ...known(), ...headers });
    const apart = (message: Buffer) => [message.subarray(0, 5), message.subarray(5)];
    const data = [LEASE, ...Array.from({ length: 5000 }, () => APPLIED)].flatMap(apart);
    const { ended } = await play(
      server,
      http2(Buffer.concat([head(1), ...data.map((piece) => frame(TYPE.data, FLAG.none, 1, piece))])),
    );
    expect(ended).toBe(0);
  });

  it("is refused before its body is asked for, if its credential is missing or malformed", async () => {
    for (const path of [PATHS.verify, PATHS.sync, PATHS.listKeys]) {
      const head = heads(path, forged).head(1);
      // Nothing but the head comes, and the stream is ended by the server's answer.
      const { ended } = await play(server, {
        pieces: [GREETING, head],
        last: { bytes: PING, answer: MARK },
        paceMs: 1,
      });
      expect([path, ended]).toEqual([path, 0]);
    }
    const head = http1Head(PATHS.listKeys, { "content-type": "application/json", "content-length": 1000 });
    const answer = { bytes: Buffer.alloc(0), answer: "HTTP/1.1 401" };
    expect((await play(server, { pieces: [head], last: answer, paceMs: 1 })).bytes).toBe(head.length);
  });
});
