import { once } from "node:events";
import * as http from "node:http";
import * as http2 from "node:http2";
import * as net from "node:net";
import { text } from "node:stream/consumers";
import { expect, onTestFinished, test, vi } from "vitest";
import { TEST_PORT_LIMITS } from "../../../testkit/port-limits.ts";
import type { Http2Stream } from "../../http2/stream.ts";
import type { HttpExchange, HttpHandler } from "../http/exchange.ts";
import type { PortLimits } from "./limits.ts";
import { createPort, type PortOptions } from "./port.ts";

const limits: PortLimits = TEST_PORT_LIMITS;

const LONGER_THAN_SOCKETS_HOLD = 16 * 1024 * 1024;

function answer(exchange: HttpExchange, body: string | Buffer): void {
  const bytes = Buffer.from(body);
  exchange.respond(200, [["content-length", String(bytes.length)]], false);
  exchange.write(bytes);
  exchange.end();
}

const answerVersion: HttpHandler = (exchange) => answer(exchange, `HTTP/${exchange.httpVersion}`);

interface Served extends Partial<PortLimits> {
  readonly handler?: HttpHandler;
  readonly streams?: NonNullable<PortOptions["streams"]>;
}

async function serve({ handler = answerVersion, streams, ...changed }: Served = {}) {
  const served = streams === undefined ? { handler } : { handler, streams };
  const port = createPort({ host: "127.0.0.1", port: 0, ...served, limits: { ...limits, drainMs: 0, ...changed } });
  const address = await port.listen();
  onTestFinished(() => port.drain());
  return { drain: () => port.drain(), ...address };
}

function connectTcp(port: number): net.Socket {
  const socket = net.connect({ host: "127.0.0.1", port, noDelay: true, allowHalfOpen: true });
  onTestFinished(() => void socket.destroy());
  socket.on("error", () => {});
  return socket;
}

function connectHttp2(url: string, createConnection?: () => net.Socket) {
  const session = http2.connect(url, createConnection ? { createConnection } : {});
  onTestFinished(() => session.destroy());
  session.on("error", () => {});
  return session;
}

async function getHttp2(session: http2.ClientHttp2Session, headers: http2.OutgoingHttpHeaders = {}) {
  return text(session.request({ ":path": "/", ...headers }));
}

async function getHttp1(url: string, agent?: http.Agent): Promise<string> {
  const [res] = await once(http.get(url, agent ? { agent } : {}), "response");
  return text(res);
}

/** A handler whose answers wait until they are released. */
function heldAnswers() {
  const arrived = Promise.withResolvers<void>();
  const released = Promise.withResolvers<void>();
  const handler: HttpHandler = (exchange) => {
    arrived.resolve();
    void released.promise.then(() => answer(exchange, "done"));
  };
  return { handler, arrived: arrived.promise, release: released.resolve };
}

test("one port answers HTTP/1.1 and HTTP/2", async () => {
  const { url } = await serve();
  expect(await getHttp1(url)).toBe("HTTP/1.1");
  expect(await getHttp2(connectHttp2(url))).toBe("HTTP/2.0");
});

test("an HTTP/2 preface may arrive byte by byte", async () => {
  const { url, port } = await serve();
  const socket = connectTcp(port);
  const write = socket.write.bind(socket);
  // The client's first write is its preface. Each byte of it leaves in a packet of its own.
  const first = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0", "latin1");
  const received = once(socket, "data");
  for (const byte of first) {
    write(Buffer.from([byte]));
    await new Promise(setImmediate);
  }
  const [settings] = await received;
  expect([...settings.subarray(3, 4)]).toEqual([4]);
  expect(await getHttp2(connectHttp2(url))).toBe("HTTP/2.0");
});

test("an HTTP/1.1 request that begins like the preface is told apart at the byte that differs", async () => {
  const { port } = await serve();
  const socket = connectTcp(port);
  socket.write("PR");
  await new Promise(setImmediate);
  socket.end("OPFIND / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
  expect(await text(socket)).toMatch(/^HTTP\/1\.1 200 OK[\s\S]*HTTP\/1\.1$/);
});

test("a client that sends its FIN on HTTP/2 is disconnected", async () => {
  const { port } = await serve();
  const socket = connectTcp(port);
  socket.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
  await once(socket, "data");
  socket.end();
  socket.resume();
  await once(socket, "end");
});

test.each([
  ["says nothing", ""],
  ["stops within the preface", "PR"],
])("a client that %s is disconnected after firstByteTimeoutMs", async (_, bytes) => {
  const { port } = await serve({ firstByteTimeoutMs: 50 });
  const socket = connectTcp(port);
  socket.write(bytes);
  expect(await text(socket)).toBe("");
});

test("a client that drips its HTTP/1.1 head is disconnected after headersTimeoutMs", async () => {
  const { port } = await serve({ headersTimeoutMs: 100, requestTimeoutMs: 200 });
  const socket = connectTcp(port);
  socket.write("GET / HTTP/1.1\r\nhost:");
  const drip = setInterval(() => socket.write("x"), 20);
  onTestFinished(() => clearInterval(drip));
  // What drips in after the answer resets the connection, which may overtake the answer.
  expect(await text(socket).catch(() => "cut off")).toMatch(/^(HTTP\/1\.1 408|cut off$)/);
});

test("a header list above headerListBytes is refused on both versions", async () => {
  const { url } = await serve();
  const big = "x".repeat(17 * 1024);
  expect((await fetch(url, { headers: { big } })).status).toBe(431);
  const session = connectHttp2(url);
  await once(session, "remoteSettings");
  await expect(getHttp2(session, { big })).rejects.toThrow("ENHANCE_YOUR_CALM");
  expect(await getHttp2(session, { fits: "x".repeat(12 * 1024) })).toBe("HTTP/2.0");
});

test("more than maxConcurrentStreams are not begun on one connection", async () => {
  const { url } = await serve({ maxConcurrentStreams: 7 });
  const session = connectHttp2(url);
  const [settings] = await once(session, "remoteSettings");
  expect(settings.maxConcurrentStreams).toBe(7);
});

test("beyond maxConnections, a connection is closed on arrival if every other one is busy", async () => {
  const held = heldAnswers();
  const { url, port } = await serve({ maxConnections: 1, handler: held.handler });
  const received = getHttp2(connectHttp2(url));
  await held.arrived;
  expect(await text(connectTcp(port)).catch(() => "")).toBe("");
  held.release();
  expect(await received).toBe("done");
});

test("an idle HTTP/2 connection is closed, one with a quiet call is not", async () => {
  const held = heldAnswers();
  const { url } = await serve({ idleTimeoutMs: 50, handler: held.handler });
  const busy = connectHttp2(url);
  const received = getHttp2(busy);
  await held.arrived;
  const idle = connectHttp2(url);
  await once(idle, "close");
  expect(busy.closed).toBe(false);
  held.release();
  expect(await received).toBe("done");
  await once(busy, "close");
});

/** Control frames that ask for nothing, until the connection is closed. */
async function flood(port: number): Promise<void> {
  const socket = connectTcp(port);
  socket.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0", "latin1");
  const windowUpdates = Buffer.from("\0\0\x04\x08\0\0\0\0\0\0\0\0\x01".repeat(5000), "latin1");
  const send = setInterval(() => socket.write(windowUpdates), 5);
  onTestFinished(() => clearInterval(send));
  await new Promise<void>((resolve) => socket.resume().once("close", () => resolve()));
  clearInterval(send);
}

test("a connection that sends more than its calls need is cut off, and others are not", async () => {
  const { url, port } = await serve({ idleBytesPerSecond: 1024 });
  const other = connectHttp2(url);
  expect(await getHttp2(other)).toBe("HTTP/2.0");
  await flood(port);
  expect(await getHttp2(other)).toBe("HTTP/2.0");
});

test.each([
  ["a client that reads nothing is cut off once an answer has waited for long", { unreadAnswerMs: 50 }, true],
  ["without the limit, a client that reads nothing is kept", { unreadAnswerMs: 60_000 }, false],
])("%s", async (_, limits, isCutOff) => {
  const answered = Promise.withResolvers<void>();
  const handler: HttpHandler = (exchange) => {
    answer(exchange, Buffer.alloc(exchange.target === "/" ? LONGER_THAN_SOCKETS_HOLD : 1));
    answered.resolve();
  };
  const { url, port } = await serve({ handler, ...limits });
  const socket = connectTcp(port);
  const widest = "\x7f\xff\xff\xff";
  const settings = `\0\0\x06\x04\0\0\0\0\0\0\x04${widest}`;
  const windowUpdate = `\0\0\x04\x08\0\0\0\0\0\x7f\0\0\0`;
  // GET http://x/ by HPACK's static table.
  const request = "\0\0\x06\x01\x05\0\0\0\x01\x82\x86\x84\x41\x01x";
  socket.write(Buffer.from(`PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n${settings}${windowUpdate}${request}`, "latin1"));
  await answered.promise;
  let isGone = false;
  socket.once("close", () => {
    isGone = true;
  });
  // Only by writing does who does not read learn that the connection is gone.
  const write = setInterval(() => socket.write("\0\0\0\xfa\0\0\0\0\0", "latin1"), 20);
  onTestFinished(() => clearInterval(write));
  if (isCutOff) await vi.waitFor(() => expect(isGone).toBe(true), 10_000);
  else for (let turn = 0; turn < 50; turn++) await getHttp2(connectHttp2(url), { ":path": "/short" });
  expect(isGone).toBe(isCutOff);
});

function askMany(session: http2.ClientHttp2Session, count: number): http2.ClientHttp2Stream[] {
  return Array.from({ length: count }, () => {
    const stream = session.request({ ":path": "/" });
    return stream.on("error", () => undefined);
  });
}

/** Lets so many bytes of each answer come, and no more until it is read. */
function connectWithWindow(url: string, initialWindowSize: number) {
  const session = http2.connect(url, { settings: { initialWindowSize } });
  onTestFinished(() => session.destroy());
  return session.on("error", () => undefined);
}

test.each([
  ["more calls are open than may be on all connections, an answer that is not read is dropped soon", 4, true],
  ["as many calls are open as may be, it waits", 5, false],
])("while %s", async (_, mostOpenCalls, isDropped) => {
  const { url } = await serve({ mostOpenCalls });
  const streams = askMany(connectWithWindow(url, 0), 5);
  const isCancelled = ({ rstCode }: http2.ClientHttp2Stream) => rstCode === http2.constants.NGHTTP2_CANCEL;
  if (isDropped) await vi.waitFor(() => expect(streams.every(isCancelled)).toBe(true), 5000);
  else for (let turn = 0; turn < 50; turn++) await getHttp2(connectHttp2(url));
  expect(streams.some(({ closed }) => closed)).toBe(isDropped);
});

const deaf = { unreadAnswerMs: 60_000, mostUnreadAnswers: 20, deafMs: 200 };

test("answers of which a connection takes nothing are dropped soon if they are many, and it serves on", async () => {
  const { url } = await serve(deaf);
  const [many, few] = [connectWithWindow(url, 0), connectWithWindow(url, 0)];
  const [dropped, waiting] = [askMany(many, 21), askMany(few, 20)];
  await vi.waitFor(
    () => expect(dropped.every(({ rstCode }) => rstCode === http2.constants.NGHTTP2_CANCEL)).toBe(true),
    5000,
  );
  expect([many.closed, waiting.some(({ closed }) => closed)]).toEqual([false, false]);
});

test("who goes on calling after its answers were dropped so is cut off", async () => {
  const { url } = await serve(deaf);
  const session = connectWithWindow(url, 0);
  const codes: number[] = [];
  session.on("goaway", (code) => codes.push(code));
  const first = askMany(session, 21);
  await vi.waitFor(() => expect(first.every(({ closed }) => closed)).toBe(true), 5000);
  askMany(session, 21);
  await vi.waitFor(() => expect(session.destroyed).toBe(true), 5000);
  expect(codes).toContain(http2.constants.NGHTTP2_ENHANCE_YOUR_CALM);
});

test("a slow client that takes its answers keeps them, however many wait", async () => {
  const { url } = await serve({ ...deaf, handler: (exchange) => answer(exchange, Buffer.alloc(1024 * 1024)) });
  const session = connectWithWindow(url, 16 * 1024);
  const streams = askMany(session, 21);
  const began = performance.now();
  while (performance.now() - began < 5 * deaf.deafMs) {
    for (const stream of streams) stream.read();
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  expect(streams.some(({ closed }) => closed)).toBe(false);
});

test.each([
  ["as many requests as may be open are answered", 128, false],
  ["one more ends the connection", 129, true],
])("of requests that an HTTP/1.1 client sends without waiting, %s", async (_, count, isCutOff) => {
  const held: (() => void)[] = [];
  const { port } = await serve({ handler: (exchange) => void held.push(() => answer(exchange, "late")) });
  const socket = connectTcp(port);
  let answers = 0;
  socket.on("data", (piece) => {
    answers += piece.toString("latin1").split("late").length - 1;
  });
  socket.write("GET / HTTP/1.1\r\nhost: x\r\n\r\n".repeat(count));
  if (isCutOff) {
    await new Promise<void>((resolve) => socket.once("end", () => resolve()).once("close", () => resolve()));
    expect(held).toHaveLength(128);
  } else {
    await vi.waitFor(() => expect(held).toHaveLength(count), 5000);
    for (const answer of held) answer();
    await vi.waitFor(() => expect(answers).toBe(count), 5000);
  }
});

const unsent = { ":path": "/", ":method": "POST" };

/** Calls that send nothing after their head. */
function openUnsent(session: http2.ClientHttp2Session, count: number): http2.ClientHttp2Stream[] {
  return Array.from({ length: count }, () => session.request(unsent).on("error", () => undefined));
}

/** Answers once it has the whole request. */
const answerWhole: HttpHandler = (exchange) => {
  exchange.listen({ piece: () => undefined, ended: () => answer(exchange, "done"), failed: () => undefined });
};

test("of more calls that stay open than may, each connection of an address keeps its share", async () => {
  const { url } = await serve({ handler: answerWhole, mostOpenCalls: 20 });
  const few = openUnsent(connectHttp2(url), 5);
  const greedy = connectHttp2(url);
  const many = openUnsent(greedy, 100);
  const isOpen = ({ closed }: http2.ClientHttp2Stream) => !closed;
  await vi.waitFor(() => expect(many.filter(isOpen).length).toBe(15), 5000);
  for (const stream of few) stream.end();
  expect(await Promise.all(few.map((stream) => text(stream)))).toEqual(few.map(() => "done"));
  expect(greedy.closed).toBe(false);
});

test("while as many calls stay open as may, calls that are answered at once are answered", async () => {
  const handler: HttpHandler = (exchange) => {
    if (exchange.target === "/now") answer(exchange, "now");
    else answerWhole(exchange);
  };
  const { url } = await serve({ handler, mostOpenCalls: 20 });
  const session = connectHttp2(url);
  const many = openUnsent(session, 100);
  await vi.waitFor(() => expect(many.filter(({ closed }) => !closed).length).toBe(20), 5000);
  const short = Array.from({ length: 100 }, () => getHttp2(session, { ":path": "/now" }));
  expect(new Set(await Promise.all(short))).toEqual(new Set(["now"]));
});

test("of many more calls at once than may stay open, those beyond are refused before anything is made of them", async () => {
  let taken = 0;
  const streams = (stream: Http2Stream) => {
    taken += 1;
    stream.receiver = { data: () => undefined, drained: () => undefined, closed: () => undefined };
  };
  const { url } = await serve({ streams, mostOpenCalls: 20 });
  const many = openUnsent(connectHttp2(url), 100);
  const refused = () => many.filter(({ rstCode }) => rstCode === http2.constants.NGHTTP2_REFUSED_STREAM);
  await vi.waitFor(() => expect(many.filter(({ closed }) => !closed).length).toBe(20), 5000);
  // Of a burst, a quarter more than may stay comes in once before shares are counted, and once after.
  expect([taken, refused().length]).toEqual([30, 70]);
});

test("a connection that opens calls without end has none of another connection refused, from the same address", async () => {
  const { url } = await serve({ handler: answerWhole, mostOpenCalls: 20 });
  const greedy = connectHttp2(url);
  let [isOver, refused] = [false, 0];
  const reopen = () => {
    if (isOver || greedy.destroyed) return;
    const [stream] = openUnsent(greedy, 1);
    stream?.on("close", () => {
      refused += 1;
      reopen();
    });
  };
  for (let at = 0; at < 100; at++) reopen();
  await vi.waitFor(() => expect(refused).toBeGreaterThan(200), 5000);
  const good = connectHttp2(url);
  for (let call = 0; call < 50; call++) {
    const stream = good.request(unsent);
    await new Promise((resolve) => setTimeout(resolve, 2));
    stream.end();
    expect(await text(stream)).toBe("done");
  }
  isOver = true;
});

test("without the limit, all calls stay open", async () => {
  const { url } = await serve({ handler: answerWhole });
  const many = openUnsent(connectHttp2(url), 100);
  for (let turn = 0; turn < 50; turn++) await getHttp2(connectHttp2(url));
  expect(many.some(({ closed }) => closed)).toBe(false);
});

test("a connection whose calls all have the longest messages is not cut off", async () => {
  const { url } = await serve({ handler: answerWhole, idleBytesPerSecond: 1024 });
  const session = connectHttp2(url);
  const post = () => {
    const stream = session.request({ ":path": "/", ":method": "POST" });
    stream.end(Buffer.alloc(64 * 1024));
    return text(stream);
  };
  for (let turn = 0; turn < 5; turn++) {
    expect(new Set(await Promise.all(Array.from({ length: 100 }, post)))).toEqual(new Set(["done"]));
  }
  expect(session.destroyed).toBe(false);
});

test("a client whose connection was cut off for a flood may come back at once, and other connections serve on", async () => {
  const { url, port } = await serve({ idleBytesPerSecond: 1024 });
  const other = connectHttp2(url);
  await getHttp2(other);
  await flood(port);
  expect(await getHttp2(connectHttp2(url))).toBe("HTTP/2.0");
  expect(await getHttp2(other)).toBe("HTTP/2.0");
});

test("a connection that is reset does not disturb the others", async () => {
  const held = heldAnswers();
  const { url, port } = await serve({ handler: held.handler });
  const received = getHttp2(connectHttp2(url));
  await held.arrived;
  for (const bytes of [
    "",
    "P",
    "GET / HTTP/1.1\r\nhost: x\r\n\r\n",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "PRI * nonsense",
  ]) {
    const socket = connectTcp(port);
    await once(socket, "connect");
    socket.write(bytes);
    await new Promise((resolve) => setTimeout(resolve, 5));
    socket.resetAndDestroy();
  }
  held.release();
  expect(await received).toBe("done");
});

test.each([
  ["a port in use", async () => ({ host: "127.0.0.1", port: (await serve()).port }), /already|another program/],
  ["a port that is none", async () => ({ host: "127.0.0.1", port: 70_000 }), /choose one from 0 to 65535$/],
  ["an address of another machine", async () => ({ host: "192.0.2.1", port: 0 }), /choose one of its own/],
])("listening on %s is refused with what to do", async (_, address, message) => {
  const port = createPort({ ...(await address()), handler: answerVersion, limits });
  await expect(port.listen()).rejects.toThrow(message);
  await port.drain();
});

test("draining closes idle connections at once and takes no new ones", async () => {
  const { url, port, drain } = await serve({ drainMs: 60_000 });
  const agent = new http.Agent({ keepAlive: true });
  onTestFinished(() => agent.destroy());
  await getHttp1(url, agent);
  const session = connectHttp2(url);
  await getHttp2(session);
  const silent = connectTcp(port);
  await once(silent, "connect");
  const goneAway = once(session, "goaway");
  await drain();
  await goneAway;
  const [error] = await once(net.connect({ host: "127.0.0.1", port }), "error");
  expect(error.code).toBe("ECONNREFUSED");
});

test("draining does not wait for HTTP/2 clients that have no call open and never hang up", async () => {
  const { port, drain } = await serve({ drainMs: 60_000 });
  const socket = connectTcp(port);
  // A preface and empty SETTINGS; nothing that comes back is read.
  socket.write(Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0", "latin1"));
  await once(socket, "readable");
  const began = performance.now();
  await drain();
  expect(performance.now() - began).toBeLessThan(20_000);
});

test("draining lets calls in flight finish on both versions, and tells their clients to go elsewhere", async () => {
  const held = heldAnswers();
  const { url, drain } = await serve({ handler: held.handler, drainMs: 60_000 });
  const agent = new http.Agent({ keepAlive: true });
  onTestFinished(() => agent.destroy());
  const response = once(http.get(url, { agent }), "response");
  await held.arrived;
  const session = connectHttp2(url);
  const stream = session.request({ ":path": "/" });
  await once(session, "remoteSettings");
  await vi.waitFor(() => expect(stream.id).toBeDefined());
  await new Promise((resolve) => session.ping(resolve));
  const goneAway = once(session, "goaway");
  let isDrained = false;
  const drained = drain().then(() => {
    isDrained = true;
  });
  await goneAway;
  expect(isDrained).toBe(false);
  held.release();
  expect(await text(stream)).toBe("done");
  const [res] = await response;
  expect(res.headers.connection).toBe("close");
  expect(await text(res)).toBe("done");
  await drained;
});

test("an answer that had begun before the drain does not keep its connection", async () => {
  const started = Promise.withResolvers<HttpExchange>();
  const { url, drain } = await serve({
    drainMs: 60_000,
    handler(exchange) {
      exchange.respond(200, [], false);
      exchange.write(Buffer.from("begun "));
      started.resolve(exchange);
    },
  });
  const agent = new http.Agent({ keepAlive: true });
  onTestFinished(() => agent.destroy());
  const received = getHttp1(url, agent);
  const exchange = await started.promise;
  const drained = drain();
  exchange.write(Buffer.from("done"));
  exchange.end();
  expect(await received).toBe("begun done");
  await drained;
});

test("calls that outlast drainMs are cut off, and a second drain waits for the same end", async () => {
  const held = heldAnswers();
  const { url, drain } = await serve({ handler: held.handler, drainMs: 50 });
  const received = getHttp2(connectHttp2(url));
  await held.arrived;
  const cutOff = expect(
    received.then((body) => (body === "" ? Promise.reject(new Error("cut")) : body)),
  ).rejects.toThrow();
  let isDrained = false;
  void drain().then(() => {
    isDrained = true;
  });
  await drain();
  expect(isDrained).toBe(true);
  await cutOff;
  await drain();
});

test("a port that never listened drains at once", async () => {
  await createPort({ host: "127.0.0.1", port: 0, handler: answerVersion, limits }).drain();
});
