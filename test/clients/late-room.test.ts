import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, it, onTestFinished } from "vitest";
import { eventually } from "../../testkit/eventually.ts";
import { FLAG, frame, greeting, headerBlock, TYPE, uint32 } from "../../testkit/http2-frames.ts";
import { windowSetting } from "../../testkit/raw-http2.ts";
import { type OwnServer, startOwnServer } from "./own-server.ts";

/** A client without a credential, with no room for an answer, whose request never ends. */
function callWithoutRoom(
  { port }: OwnServer,
  { path, type }: { readonly path: string; readonly type: string },
): Socket {
  const socket = connect({ host: "127.0.0.1", port }).on("error", () => undefined);
  onTestFinished(() => void socket.destroy());
  const head = { ":method": "POST", ":scheme": "http", ":authority": "x", ":path": path, "content-type": type };
  socket.write(greeting(0));
  socket.write(frame(TYPE.headers, FLAG.endHeaders, 1, headerBlock(head)));
  socket.write(frame(TYPE.data, FLAG.none, 1, Buffer.alloc(10, "x")));
  return socket;
}

const ROOM = {
  "for the stream": frame(TYPE.windowUpdate, FLAG.none, 1, uint32(65_535)),
  "for all streams": windowSetting(65_535),
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
        find: "if (stream.waiting !== undefined) this.#goOn(stream, Number.POSITIVE_INFINITY);",
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
