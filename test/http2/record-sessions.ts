/**
 * `node test/http2/record-sessions.ts`: has clients call a port, and writes the bytes that each has sent into
 * `recorded-sessions.json`, which the fuzz of bytes starts from.
 */
import { execFile } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { connect as connectHttp2 } from "node:http2";
import { type AddressInfo, connect, createServer } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { Client, credentials, Metadata } from "@grpc/grpc-js";
import { createPort } from "../../src/transport/port/port.ts";
import { TEST_PORT_LIMITS } from "../../testkit/port-limits.ts";
import { answerLikeGrpc } from "./grpc-like-handler.ts";

const MESSAGE = Buffer.from("a message of a client");
const same = (bytes: Buffer) => bytes;

async function grpcJs(port: number): Promise<void> {
  const client = new Client(`127.0.0.1:${port}`, credentials.createInsecure());
  const metadata = new Metadata();
  metadata.set("authorization", "Bearer clv_live_example");
  for (let call = 0; call < 3; call++) {
    await new Promise<void>((resolve, reject) => {
      client.makeUnaryRequest("/test.Service/Call", same, same, MESSAGE, metadata, (error) =>
        error === null ? resolve() : reject(error),
      );
    });
  }
  const stream = client.makeBidiStreamRequest("/test.Service/Stream", same, same, metadata);
  stream.on("error", () => undefined).on("data", () => undefined);
  for (let message = 0; message < 3; message++) stream.write(MESSAGE);
  await sleep(20);
  stream.cancel();
  await sleep(20);
  client.close();
}

async function nodeHttp2(port: number): Promise<void> {
  const session = connectHttp2(`http://127.0.0.1:${port}`, { settings: { initialWindowSize: 30 } });
  const get = session.request({ ":path": "/get", "x-name": "value" }).resume();
  const post = session.request({ ":method": "POST", ":path": "/post", "content-length": "42" }).resume();
  post.write(MESSAGE);
  post.end(MESSAGE);
  const cancelled = session.request({ ":method": "POST", ":path": "/cancelled" }).on("error", () => undefined);
  const withTrailers = session.request({ ":method": "POST", ":path": "/" }, { waitForTrailers: true } as object);
  withTrailers.on("wantTrailers", () => withTrailers.sendTrailers({ "x-trailer": "t" }));
  withTrailers.resume().end(MESSAGE);
  await Promise.all([once(get, "close"), once(post, "close"), once(withTrailers, "close")]);
  cancelled.close(8);
  session.ping(() => undefined);
  session.settings({ initialWindowSize: 60 });
  await sleep(50);
  session.close();
  await once(session, "close");
}

async function curl(port: number): Promise<void> {
  const target = `http://127.0.0.1:${port}/curl?query=1`;
  const args = ["--silent", "--http2-prior-knowledge", "--data", "name=value", target, "--next", "--silent", target];
  await promisify(execFile)("curl", args);
}

const CLIENTS: Readonly<Record<string, (port: number) => Promise<void>>> = { grpcJs, nodeHttp2, curl };

const served = createPort({
  host: "127.0.0.1",
  port: 0,
  handler: answerLikeGrpc,
  limits: { ...TEST_PORT_LIMITS, drainMs: 0 },
});
const target = await served.listen();
let recorded: Buffer[] = [];
const recorder = createServer((socket) => {
  const onward = connect({ host: target.host, port: target.port });
  const mine = recorded;
  socket.on("data", (chunk: Buffer) => mine.push(chunk)).pipe(onward);
  onward.pipe(socket);
  for (const each of [socket, onward]) each.on("error", () => undefined);
}).listen(0, "127.0.0.1");
await once(recorder, "listening");
const sessions: Record<string, string> = {};
for (const [name, client] of Object.entries(CLIENTS)) {
  recorded = [];
  await client((recorder.address() as AddressInfo).port);
  sessions[name] = Buffer.concat(recorded).toString("base64");
}
writeFileSync(new URL("./recorded-sessions.json", import.meta.url), `${JSON.stringify(sessions, null, 2)}\n`);
recorder.close();
await served.drain();
