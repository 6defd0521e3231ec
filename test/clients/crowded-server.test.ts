import { once } from "node:events";
import { type ClientHttp2Session, connect as connectHttp2, type IncomingHttpHeaders } from "node:http2";
import { connect as connectTcp, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { expect, it, onTestFinished } from "vitest";
import { KeyManagement } from "#gen/claviger/v1/key_management_pb.js";
import { eventually } from "../../testkit/eventually.ts";
import { greeting } from "../../testkit/http2-frames.ts";
import { endOf, LEASE, openRaw } from "../../testkit/raw-sync.ts";
import { PATHS } from "./connection-plan.ts";
import { type OwnServer, type OwnServerOptions, startOwnServer } from "./own-server.ts";

const NEIGHBOUR = "127.0.0.1";
const OTHER = "127.0.0.2";
const MOST = 20;
/** Long enough for a server to see that a connection is idle. */
const IDLE_MS = 1000;
const REQUEST = "GET /nothing HTTP/1.1\r\nhost: x\r\n\r\n";

async function start(options: OwnServerOptions = {}): Promise<OwnServer> {
  return startOwnServer({ ...options, policy: { port: { maxConnections: MOST }, ...options.policy } });
}

/** A client that does nothing but be there. */
async function idle({ port }: OwnServer, bytes: Buffer | string): Promise<Socket> {
  const socket = connectTcp({ host: NEIGHBOUR, port });
  onTestFinished(() => void socket.destroy());
  socket.on("error", () => undefined).resume();
  await once(socket, "connect");
  socket.write(bytes);
  if (bytes === REQUEST) {
    await new Promise((resolve) => socket.once("data", resolve).once("close", resolve));
    // A connection is idle a tenth of a second after its last call.
    await sleep(IDLE_MS);
  }
  return socket;
}

function connectFrom({ port, url }: OwnServer, localAddress: string): ClientHttp2Session {
  const session = connectHttp2(url, {
    createConnection: () => connectTcp({ host: "127.0.0.1", port, localAddress }),
  });
  onTestFinished(() => session.destroy());
  return session.on("error", () => undefined);
}

function call(session: ClientHttp2Session, path: string) {
  const stream = session.request({
    ":method": "POST",
    ":path": path,
    "content-type": "application/grpc",
    te: "trailers",
  });
  return stream.on("error", () => undefined).end(Buffer.alloc(5));
}

/** Whether a client that connects now is answered. */
async function isServed(server: OwnServer, localAddress = NEIGHBOUR): Promise<boolean> {
  const session = connectFrom(server, localAddress);
  const stream = call(session, PATHS.health).resume();
  let isAnswered = false;
  stream.on("trailers", (trailers) => {
    isAnswered = trailers["grpc-status"] === "0";
  });
  await new Promise((resolve) => {
    stream.once("close", resolve);
    session.once("close", resolve);
  });
  session.destroy();
  return isAnswered;
}

interface Watched {
  isOpen(): boolean;
  /** How it ended. */
  status(): string | undefined;
}

/** A call that stays open. */
async function watch(session: ClientHttp2Session): Promise<Watched> {
  const stream = call(session, PATHS.watch);
  let status: string | undefined;
  let isClosed = false;
  const note = (headers: IncomingHttpHeaders) => {
    status = headers["grpc-status"]?.toString();
  };
  stream.on("response", note).on("trailers", note);
  await new Promise<void>((resolve) => {
    stream.once("data", () => resolve());
    stream.once("close", () => {
      isClosed = true;
      resolve();
    });
  });
  return { isOpen: () => !isClosed, status: () => status };
}

it.each([
  ["silent", ""],
  ["greeted", greeting()],
  ["kept alive over HTTP/1.1", REQUEST],
])("idle connections beyond the maximum, %s, keep out no caller and end no call", async (_, bytes) => {
  const server = await start();
  const watcher = await watch(connectFrom(server, NEIGHBOUR));
  await Promise.all(Array.from({ length: 3 * MOST }, () => idle(server, bytes)));
  for (let count = 0; count < MOST; count++) expect(await isServed(server)).toBe(true);
  expect(watcher.isOpen()).toBe(true);
});

it("control: keep callers out where a full server makes no room", async () => {
  const server = await start({
    mutations: [
      {
        file: "src/transport/port/connections.ts",
        find: "const displaced = this.#victimFor(address);",
        replace: "const displaced = undefined as never;",
      },
    ],
  });
  await Promise.all(Array.from({ length: 3 * MOST }, () => idle(server, greeting())));
  expect(await isServed(server)).toBe(false);
});

it("an address that has filled the server with open calls keeps out no other address", async () => {
  const server = await start();
  const own: Watched[] = [];
  for (let count = 0; count < MOST; count++) own.push(await watch(connectFrom(server, NEIGHBOUR)));
  expect(own.every(({ isOpen }) => isOpen())).toBe(true);
  // It has more than its share.
  expect(await isServed(server)).toBe(false);
  const others = [];
  for (let count = 0; count < MOST / 2; count++) others.push(await watch(connectFrom(server, OTHER)));
  expect(others.every(({ isOpen }) => isOpen())).toBe(true);
  await eventually(() => expect(own.filter(({ isOpen }) => isOpen())).toHaveLength(MOST / 2));
  expect(await isServed(server, OTHER)).toBe(false);
});

it("an address with all watchers of health keeps out no other, and those displaced may watch elsewhere", async () => {
  const server = await start();
  const session = connectFrom(server, NEIGHBOUR);
  const own: Watched[] = [];
  for (let count = 0; count < 100; count++) own.push(await watch(session));
  expect((await watch(session)).status()).toBe("14");
  const other = await watch(connectFrom(server, OTHER));
  expect(other.isOpen()).toBe(true);
  await eventually(() => expect(own.map(({ status }) => status())).toEqual(["14", ...Array(99).fill(undefined)]));
});

it("a key with all streams of Sync keeps out no other key, up to an equal share", async () => {
  const server = await start({ policy: { sync: { streams: 6 } } });
  const authorize = (token: string) => ({ url: server.url, adminToken: token });
  const transport = createGrpcTransport({
    baseUrl: server.url,
    interceptors: [
      (next) => (request) => {
        request.header.set("authorization", `Bearer ${server.token}`);
        return next(request);
      },
    ],
  });
  const { secret } = await createClient(KeyManagement, transport).createKey({
    ...{ owner: "other", displayName: "other", scopes: ["claviger:verify"] },
  });
  const open = async (token: string) => {
    const raw = openRaw(authorize(token));
    onTestFinished(() => raw.session.destroy());
    raw.stream.write(LEASE);
    await Promise.race([once(raw.stream, "readable"), once(raw.stream, "end")]);
    return raw;
  };
  const greedy = [];
  for (let count = 0; count < 6; count++) greedy.push(await open(server.token));
  expect(await endOf(await open(server.token))).toMatchObject({ code: "UNAVAILABLE", reason: "OVERLOADED" });
  const others = [await open(secret), await open(secret), await open(secret)];
  expect(await endOf(await open(secret))).toMatchObject({ code: "UNAVAILABLE", reason: "OVERLOADED" });
  for (const displaced of greedy.slice(0, 3)) {
    expect(await endOf(displaced)).toMatchObject({ code: "UNAVAILABLE", reason: "OVERLOADED" });
  }
  for (const { stream } of [...greedy.slice(3), ...others]) expect(stream.closed).toBe(false);
});
