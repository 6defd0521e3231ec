import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, it, onTestFinished } from "vitest";
import { eventually } from "../../testkit/eventually.ts";
import { type OwnServer, startOwnServer } from "./own-server.ts";

const [DATA, HEADERS, SETTINGS, WINDOW_UPDATE] = [0, 1, 4, 8];
const END_HEADERS = 4;
const INITIAL_WINDOW_SIZE = 4;

function frame(type: number, flags: number, stream: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head.writeUInt8(type, 3);
  head.writeUInt8(flags, 4);
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

/** HPACK (RFC 7541, 6.2.2): literals without indexing, of names and values below 127 bytes. */
function literals(fields: Readonly<Record<string, string>>): Buffer {
  const text = (value: string) => Buffer.concat([Buffer.from([value.length]), Buffer.from(value)]);
  return Buffer.concat(Object.entries(fields).flatMap(([name, value]) => [Buffer.from([0]), text(name), text(value)]));
}

function setting(id: number, value: number): Buffer {
  const bytes = Buffer.alloc(6);
  bytes.writeUInt16BE(id);
  bytes.writeUInt32BE(value, 2);
  return bytes;
}

/** A client without a credential, with no room for an answer, whose request never ends. */
function callWithoutRoom(
  { port }: OwnServer,
  { path, type }: { readonly path: string; readonly type: string },
): Socket {
  const socket = connect({ host: "127.0.0.1", port }).on("error", () => undefined);
  onTestFinished(() => void socket.destroy());
  const head = { ":method": "POST", ":scheme": "http", ":authority": "x", ":path": path, "content-type": type };
  socket.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
  socket.write(frame(SETTINGS, 0, 0, setting(INITIAL_WINDOW_SIZE, 0)));
  socket.write(frame(HEADERS, END_HEADERS, 1, literals(head)));
  socket.write(frame(DATA, 0, 1, Buffer.alloc(10, "x")));
  return socket;
}

const ROOM = {
  "for the stream": frame(WINDOW_UPDATE, 0, 1, Buffer.from([0, 0, 255, 255])),
  "for all streams": frame(SETTINGS, 0, 0, setting(INITIAL_WINDOW_SIZE, 65_535)),
};

async function isServing({ url }: OwnServer): Promise<boolean> {
  const answer = await fetch(`${url}/metrics`, { signal: AbortSignal.timeout(20_000) }).catch(() => undefined);
  return answer?.status === 200;
}

const CALLS = [
  { path: "/no.such.Service/Method", type: "application/json" },
  { path: "/claviger.v1.KeyManagement/CreateKey", type: "application/json" },
  { path: "/claviger.v1.KeyVerifier/Verify", type: "application/json" },
  { path: "/grpc.health.v1.Health/Watch", type: "application/connect+json" },
  { path: "/metrics", type: "text/plain" },
];

/** Milliseconds: some looks at what waits. */
const LATE_MS = 3500;

it("a client that makes room late for its answer gets it, and stops nothing", async () => {
  const server = await startOwnServer();
  for (const [what, room] of Object.entries(ROOM)) {
    const sockets = CALLS.map((call) => callWithoutRoom(server, call));
    const received = sockets.map((socket) => {
      const bytes = { count: 0 };
      socket.on("data", (chunk) => {
        bytes.count += chunk.length;
      });
      return bytes;
    });
    await sleep(LATE_MS);
    const before = received.map(({ count }) => count);
    for (const socket of sockets) socket.write(room);
    expect([what, await isServing(server)]).toEqual([what, true]);
    // The first three are refusals with a body, which was kept for them.
    for (const at of [0, 1, 2]) {
      await eventually(() => expect(received[at]?.count).toBeGreaterThan(before[at] ?? 0));
    }
  }
});

it("control: gets nothing, where a window that opens late is not used", async () => {
  const server = await startOwnServer({
    mutations: [
      {
        file: "src/http2/sender.ts",
        find: "if (stream.waiting !== undefined) this.#sendSome(stream, Number.POSITIVE_INFINITY);",
        replace: "",
      },
    ],
  });
  const socket = callWithoutRoom(server, { path: "/no.such.Service/Method", type: "application/json" });
  await once(socket, "data");
  await sleep(LATE_MS);
  let bytes = 0;
  socket.on("data", (chunk) => {
    bytes += chunk.length;
  });
  socket.write(ROOM["for the stream"]);
  await sleep(LATE_MS);
  expect(bytes).toBe(0);
});
