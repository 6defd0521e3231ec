import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { type ClientHttp2Session, connect as connectHttp2 } from "node:http2";
import { connect as connectTcp } from "node:net";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { describe, expect, it, onTestFinished } from "vitest";
import { ErrorCode } from "../../src/http2/frames.ts";
import type { HttpHandler } from "../../src/transport/http/exchange.ts";
import { eventually } from "../../testkit/eventually.ts";
import { callHead, FLAG, frame, greeting, headerBlock, PREFACE, TYPE, uint32 } from "../../testkit/http2-frames.ts";
import { TEST_PORT_LIMITS } from "../../testkit/port-limits.ts";
import { PRIORITY } from "./frame-plan.ts";
import { heapBytes } from "./heap.ts";
import { openRaw, type RawConnection } from "./raw-connection.ts";
import { answerShortly, servePort } from "./serve-port.ts";

const { idleBytesPerSecond, streamResetBurst, mostTinyPieces, maxConcurrentStreams } = TEST_PORT_LIMITS;
/** A budget lasts for longer where it comes back with time: on a machine that is busy, by this much. */
const SLACK = 1.5;
/** Frames beside calls that may come at once: 16 seconds of the rate, at 64 bytes for a frame beside its payload. */
const idleFrames = (payloadBytes: number) => Math.floor((16 * idleBytesPerSecond) / (64 + payloadBytes));
const HEAD_BYTES = 9;
const AT_ONCE = 128;
const LARGE_BYTES = 1024 * 1024;
const CALM = ErrorCode.enhanceYourCalm;
const LARGE = "/large";

/** Answers with a few bytes, or with many. */
const answer: HttpHandler = (exchange) => {
  if (exchange.target !== LARGE) return answerShortly(exchange);
  exchange.respond(200, [["content-type", "text/plain"]], false);
  exchange.write(Buffer.alloc(LARGE_BYTES));
  exchange.end();
};

async function open(port: number, window?: number): Promise<RawConnection> {
  const connection = await openRaw(port);
  await connection.send(greeting(window));
  return connection;
}

/** One call; rejects unless it is answered. */
async function call(session: ClientHttp2Session): Promise<void> {
  const stream = session.request({ ":path": "/" }).resume();
  const closed = once(stream, "close");
  const [headers] = await once(stream, "response");
  expect(headers[":status"]).toBe(200);
  await closed;
  expect(stream.rstCode).toBe(0);
}

/** Does the work while a client that behaves goes on calling from the same address, and gets all its answers. */
async function besideOneThatBehaves<T>(port: number, work: () => Promise<T>): Promise<T> {
  const session = connectHttp2(`http://127.0.0.1:${port}`);
  onTestFinished(() => session.destroy());
  session.on("error", () => undefined);
  let isOver = false;
  let answered = 0;
  await call(session);
  const calls = (async () => {
    for (; !isOver || answered < 10; answered++) {
      await call(session);
      await sleep(1);
    }
  })();
  try {
    const [result] = await Promise.all([work().finally(() => (isOver = true)), calls]);
    return result;
  } finally {
    isOver = true;
  }
}

/** Sends frames until the server has enough; returns how many groups were sent. */
async function flood(connection: RawConnection, most: number, group: (at: number) => Buffer): Promise<number> {
  let sent = 0;
  while (sent < most && !connection.isOver) {
    const groups = Array.from({ length: Math.min(AT_ONCE, most - sent) }, (_, at) => group(sent + at));
    await connection.send(Buffer.concat(groups));
    sent += groups.length;
    await new Promise(setImmediate);
  }
  await connection.until(() => connection.isOver);
  return sent;
}

const idOf = (at: number) => 2 * at + 1;
const headOf = (at: number, flags?: number) => callHead(idOf(at), "/", flags);
const request = (fields: Readonly<Record<string, string>>) =>
  headerBlock({ ":method": "POST", ":scheme": "http", ":authority": "localhost", ":path": "/", ...fields });

interface Flood {
  readonly name: string;
  /** What comes before. */
  readonly first?: Buffer;
  readonly group: (at: number) => Buffer;
  /** Groups that the budget allows. */
  readonly budget: number;
  readonly code?: number;
}

const FLOODS: readonly Flood[] = [
  {
    name: "calls that are reset at once (rapid reset)",
    group: (at) => Buffer.concat([headOf(at), frame(TYPE.reset, FLAG.none, idOf(at), uint32(ErrorCode.cancel))]),
    budget: streamResetBurst,
  },
  ...[
    { how: "a window update of 0", more: (id: number) => frame(TYPE.windowUpdate, FLAG.none, id, uint32(0)) },
    { how: "too large a window", more: (id: number) => frame(TYPE.windowUpdate, FLAG.none, id, uint32(2 ** 31 - 1)) },
    { how: "a wrong PRIORITY", more: (id: number) => frame(PRIORITY, FLAG.none, id, Buffer.alloc(4)) },
    { how: "trailers without an end", more: (id: number) => frame(TYPE.headers, FLAG.endHeaders, id, headerBlock({})) },
  ].map(({ how, more }) => ({
    name: `calls that the server has to reset for ${how} (MadeYouReset)`,
    group: (at: number) => Buffer.concat([headOf(at), more(idOf(at))]),
    budget: streamResetBurst,
  })),
  {
    name: "calls with more DATA than they declare",
    group: (at) =>
      Buffer.concat([
        frame(TYPE.headers, FLAG.endHeaders, idOf(at), request({ "content-length": "1" })),
        frame(TYPE.data, FLAG.none, idOf(at), Buffer.alloc(100)),
      ]),
    budget: streamResetBurst,
  },
  {
    name: "malformed heads",
    group: (at) => frame(TYPE.headers, FLAG.endHeaders | FLAG.endStream, idOf(at), request({ connection: "close" })),
    budget: streamResetBurst,
  },
  {
    name: "calls beyond those that may be open",
    first: Buffer.concat(Array.from({ length: maxConcurrentStreams }, (_, at) => headOf(at))),
    group: (at) => headOf(maxConcurrentStreams + at),
    budget: streamResetBurst,
  },
  {
    name: "a table entry that each head names often (HPACK bomb)",
    first: frame(
      TYPE.headers,
      FLAG.endHeaders | FLAG.endStream,
      1,
      Buffer.concat([request({}), Buffer.from([0x40, 1, 0x61, 0x7f, 0xa1, 0x1e]), Buffer.alloc(4000, "b")]),
    ),
    group: (at) =>
      frame(
        TYPE.headers,
        FLAG.endHeaders | FLAG.endStream,
        idOf(at + 1),
        Buffer.concat([request({}), Buffer.alloc(10_000, 0x80 + 62)]),
      ),
    budget: streamResetBurst,
  },
  {
    name: "CONTINUATION frames that fill no head",
    first: headOf(0, FLAG.none),
    group: () => frame(TYPE.continuation, FLAG.none, 1),
    budget: idleFrames(0),
  },
  {
    name: "CONTINUATION frames that make a head endless",
    first: headOf(0, FLAG.none),
    group: (at) => frame(TYPE.continuation, FLAG.none, 1, headerBlock({ [`x-${at}`]: "y".repeat(100) })),
    budget: (64 * 1024) / 100,
  },
  ...[
    { what: "PING", bytes: frame(TYPE.ping, FLAG.none, 0, Buffer.alloc(8)) },
    { what: "acknowledged PING", bytes: frame(TYPE.ping, FLAG.ack, 0, Buffer.alloc(8)) },
    { what: "empty SETTINGS", bytes: frame(TYPE.settings, FLAG.none, 0) },
    { what: "acknowledged SETTINGS", bytes: frame(TYPE.settings, FLAG.ack, 0) },
    { what: "window SETTINGS", bytes: frame(TYPE.settings, FLAG.none, 0, Buffer.from([0, 4, 0, 0, 0, 9])) },
    { what: "PRIORITY", bytes: frame(PRIORITY, FLAG.none, 1, Buffer.from([0, 0, 0, 0, 1])) },
    { what: "WINDOW_UPDATE", bytes: frame(TYPE.windowUpdate, FLAG.none, 0, uint32(1)) },
    { what: "unknown", bytes: frame(250, 255, 7) },
    { what: "GOAWAY", bytes: frame(7, FLAG.none, 0, Buffer.alloc(8)) },
  ].map(({ what, bytes }) => ({
    name: `${what} frames`,
    group: () => bytes,
    budget: idleFrames(bytes.length - HEAD_BYTES),
  })),
  {
    name: "unknown frames of the largest size",
    group: () => frame(250, 0, 0, Buffer.alloc(16_384)),
    budget: idleFrames(16_384),
  },
  {
    name: "empty DATA frames",
    first: headOf(0),
    group: () => frame(TYPE.data, FLAG.none, 1),
    budget: mostTinyPieces + 8,
  },
  {
    name: "DATA frames of one byte",
    first: headOf(0),
    group: () => frame(TYPE.data, FLAG.none, 1, Buffer.alloc(1, 1)),
    budget: mostTinyPieces + 8,
  },
  {
    name: "empty messages in DATA frames of one byte, of which each pays for three of its five",
    first: headOf(0),
    group: () => frame(TYPE.data, FLAG.none, 1, Buffer.alloc(1)),
    budget: (mostTinyPieces * 5) / 2 + 8,
  },
  {
    name: "DATA frames of padding",
    first: headOf(0),
    group: () => frame(TYPE.data, FLAG.padded, 1, Buffer.from([3, 0, 0, 0])),
    budget: mostTinyPieces + 8,
  },
  {
    name: "window updates of one byte for a large answer",
    first: Buffer.concat([
      frame(TYPE.settings, FLAG.none, 0, Buffer.from([0, 4, 0, 0, 0, 0])),
      callHead(1, LARGE, FLAG.endHeaders | FLAG.endStream),
    ]),
    group: () => frame(TYPE.windowUpdate, FLAG.none, 1, uint32(1)),
    budget: idleFrames(4),
  },
  {
    name: "a window of the connection above 2^31-1",
    group: () => frame(TYPE.windowUpdate, FLAG.none, 0, uint32(2 ** 31 - 1)),
    budget: 0,
    code: ErrorCode.flowControlError,
  },
  {
    name: "a table larger than was offered",
    group: (at) => frame(TYPE.headers, FLAG.endHeaders, idOf(at), Buffer.from([0x3f, 0xff, 0xff, 0x03])),
    budget: 0,
    code: ErrorCode.compressionError,
  },
  {
    name: "a number in a head that never ends",
    group: (at) => frame(TYPE.headers, FLAG.endHeaders, idOf(at), Buffer.alloc(1000, 0xff)),
    budget: 0,
    code: ErrorCode.compressionError,
  },
];

describe("a client that floods is ended within its budget, and its neighbour gets all answers:", () => {
  it.each(FLOODS)("$name", async ({ first = Buffer.alloc(0), group, budget, code = CALM }) => {
    const { port } = await servePort(answer);
    await besideOneThatBehaves(port, async () => {
      const connection = await open(port);
      await connection.send(first);
      const most = Math.ceil(SLACK * budget) + 2 * AT_ONCE;
      const sent = await flood(connection, most, group);
      expect(connection.goAway?.code, `after ${sent} of at most ${most}`).toBe(code);
      await connection.until(() => connection.isClosed);
      expect(connection.isClosed).toBe(true);
      // No early end: what the budget allows is taken.
      expect(sent).toBeGreaterThanOrEqual(budget);
    });
  });
});

describe("control: without the budgets a client that floods goes on:", () => {
  const UNBOUND = { idleBytesPerSecond: 2 ** 40, streamResetBurst: 2 ** 40, mostTinyPieces: 2 ** 40 };
  const bound = FLOODS.filter(({ name }) =>
    /^(calls that|malformed|empty|PING|unknown|DATA|window updates)/.test(name),
  );

  it.each(bound)("$name", async ({ first = Buffer.alloc(0), group, budget }) => {
    const { port } = await servePort(answer, UNBOUND);
    const connection = await open(port);
    await connection.send(first);
    const groups = Array.from({ length: Math.ceil(SLACK * budget) + 2 * AT_ONCE }, (_, at) => group(at));
    await connection.send(Buffer.concat(groups));
    expect(await connection.ping("goes on")).toBe(true);
  });
});

describe("a client that only waits is ended in time, and its neighbour gets all answers:", () => {
  const SOON = { firstByteTimeoutMs: 300, headersTimeoutMs: 300, unreadAnswerMs: 300, idleTimeoutMs: 600 };

  it.each<[name: string, bytes: Buffer, code: number | undefined]>([
    ["it says nothing", Buffer.alloc(0), undefined],
    ["its preface stops before it shows the version", PREFACE.subarray(0, 2), undefined],
    ["its preface stops later", PREFACE.subarray(0, 20), CALM],
    ["its head stops between two frames", Buffer.concat([greeting(), headOf(0, FLAG.none)]), CALM],
    ["it calls no more", greeting(), ErrorCode.noError],
    ["its frame stops in the middle", Buffer.concat([greeting(), headOf(0).subarray(0, 30)]), ErrorCode.noError],
  ])("%s", async (_, bytes, code) => {
    const { port } = await servePort(answer, SOON);
    await besideOneThatBehaves(port, async () => {
      const connection = await openRaw(port);
      await connection.send(bytes);
      expect(await connection.until(() => connection.isClosed)).toBe(true);
      expect(connection.goAway?.code).toBe(code);
    });
  });

  it("its window stays at 0, so that its answers are dropped", async () => {
    const { port } = await servePort(answer, SOON);
    await besideOneThatBehaves(port, async () => {
      const connection = await open(port, 0);
      await connection.send(callHead(1, LARGE, FLAG.endHeaders | FLAG.endStream));
      await connection.until(() => connection.stream(1).end !== "open");
      expect(connection.stream(1)).toMatchObject({ end: "reset", code: ErrorCode.cancel });
    });
  });

  it("it reads nothing from its socket, and is cut off", async () => {
    const { port } = await servePort(answer, SOON);
    await besideOneThatBehaves(port, async () => {
      const connection = await open(port, 2 ** 31 - 1);
      await connection.send(frame(TYPE.windowUpdate, FLAG.none, 0, uint32(2 ** 30)));
      connection.socket.pause();
      for (let at = 0; at < 64; at++)
        await connection.send(callHead(idOf(at), LARGE, FLAG.endHeaders | FLAG.endStream));
      await sleep(3000);
      connection.socket.resume();
      expect(await connection.until(() => connection.isClosed)).toBe(true);
      expect(connection.receivedBytes).toBeLessThan(64 * LARGE_BYTES);
    });
  });

  it("it ends its side of the socket in the middle of calls", async () => {
    const { port } = await servePort(answer);
    await besideOneThatBehaves(port, async () => {
      const socket = connectTcp({ host: "127.0.0.1", port, allowHalfOpen: true }).on("error", () => undefined);
      onTestFinished(() => void socket.destroy());
      socket.resume();
      socket.end(Buffer.concat([greeting(), headOf(0), headOf(1)]));
      await once(socket, "end");
    });
  });

  it("its calls never end, and are more than may stay open", async () => {
    const { port } = await servePort(answer, { mostOpenCalls: 100 });
    await besideOneThatBehaves(port, async () => {
      const connections = await Promise.all([open(port), open(port)]);
      for (const connection of connections) {
        await connection.send(Buffer.concat(Array.from({ length: 60 }, (_, at) => headOf(at))));
      }
      const reset = () =>
        connections.flatMap((each) => [...each.streams.values()]).filter(({ end }) => end === "reset");
      await connections[0]?.until(() => reset().length >= 20);
      expect(reset().length).toBeGreaterThanOrEqual(20);
    });
  });
});

describe("idle connections", () => {
  /** Connections that the server holds at most, and less where the machine allows a process fewer files. */
  const most = Math.min(TEST_PORT_LIMITS.maxConnections, mostFiles() - 500);
  const BEHAVING = 100;

  it("take no place from those that are called on, also from the same address", async () => {
    const { port } = await servePort(answer, { maxConnections: most });
    const sessions = Array.from({ length: BEHAVING }, () => connectHttp2(`http://127.0.0.1:${port}`));
    const lost: unknown[] = [];
    for (const session of sessions)
      session.on("error", (error) => lost.push(error)).on("goaway", (code) => lost.push(code));
    onTestFinished(() => {
      for (const session of sessions) session.destroy();
    });
    await Promise.all(sessions.map(call));
    const before = await heapBytes();
    let isOver = false;
    const calls = sessions.map(async (session) => {
      let answered = 0;
      for (; !isOver; answered++) {
        await call(session);
        await sleep(100);
      }
      return answered;
    });
    const script = fileURLToPath(new URL("./hold-connections.ts", import.meta.url));
    const holder = spawn(process.execPath, [script, String(port), String(most)], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    onTestFinished(() => void holder.kill("SIGKILL"));
    const lines = createInterface({ input: holder.stdout })[Symbol.asyncIterator]();
    await lines.next();
    // Control: those that are called on made the server end others.
    await eventually(async () => {
      holder.stdin.write("how many?\n");
      expect(Number((await lines.next()).value)).toBe(most - BEHAVING);
    });
    isOver = true;
    const answered = await Promise.all(calls);
    expect(Math.min(...answered)).toBeGreaterThan(0);
    expect(lost).toEqual([]);
    const bytesEach = Math.round(((await heapBytes()) - before) / (most - BEHAVING));
    console.log(JSON.stringify({ idle: most - BEHAVING, behaving: BEHAVING, bytesEach }));
  });
});

/** Files that a process may open on this machine. */
function mostFiles(): number {
  return Number(execFileSync("sh", ["-c", "ulimit -Hn"], { encoding: "utf8" })) || Number.POSITIVE_INFINITY;
}
