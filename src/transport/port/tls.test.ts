import { once } from "node:events";
import { readFileSync } from "node:fs";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { text } from "node:stream/consumers";
import { connect as connectTls } from "node:tls";
import { afterAll, beforeAll, expect, it, onTestFinished } from "vitest";
import { makeCertificates, type TestCertificates } from "../../../testkit/certificates.ts";
import { describeWithOpenssl } from "../../../testkit/describe-with.ts";
import { TEST_PORT_LIMITS } from "../../../testkit/port-limits.ts";
import type { HttpHandler } from "../http/exchange.ts";
import { createPort } from "./port.ts";
import { TlsDoor } from "./tls.ts";

describeWithOpenssl("a door with a certificate", () => {
  let certificates: TestCertificates;
  let pem: readonly string[];
  let door: TlsDoor;

  beforeAll(async () => {
    certificates = await makeCertificates();
    pem = [certificates.certFile, certificates.keyFile].map((file) => readFileSync(file, "utf8"));
    const [cert = "", key = ""] = pem;
    door = new TlsDoor({ cert, key });
  });
  afterAll(() => certificates?.remove());

  /** The server's end of the next connection, and the port to connect to. */
  async function listen(): Promise<{ readonly port: number; readonly accepted: Promise<Socket> }> {
    const server = createServer().listen(0, "127.0.0.1");
    onTestFinished(() => void server.close());
    await once(server, "listening");
    const accepted = once(server, "connection").then(([socket]) => (socket as Socket).on("error", () => undefined));
    return { port: (server.address() as AddressInfo).port, accepted };
  }

  it("lets in a client that completes its handshake", async () => {
    const { port, accepted } = await listen();
    const client = connectTls({ host: "127.0.0.1", port, ca: certificates.ca });
    onTestFinished(() => void client.destroy());
    const secured = await door.enter(await accepted, 10_000);
    expect(secured?.encrypted).toBe(true);
  });

  it.each([
    ["says nothing", ""],
    ["stops in its handshake", "\x16\x03\x01"],
  ])("hangs up on a client that %s", async (_, bytes) => {
    const { port, accepted } = await listen();
    const client = connect({ host: "127.0.0.1", port }).on("error", () => undefined);
    onTestFinished(() => void client.destroy());
    client.write(bytes);
    const socket = await accepted;
    expect(await door.enter(socket, 100)).toBeUndefined();
    expect(socket.destroyed).toBe(true);
  });

  it("takes a call over HTTP/1.1 that comes in several records while an answer is unread", async () => {
    const unread = Promise.withResolvers<void>();
    const handler: HttpHandler = (exchange) => {
      let received = 0;
      const ended = () => {
        exchange.respond(200, [], false);
        exchange.write(received === 0 ? Buffer.alloc(16 * 1024 * 1024) : Buffer.from(`received ${received}`));
        exchange.end();
        unread.resolve();
      };
      const piece = (bytes: Uint8Array) => {
        received += bytes.length;
      };
      exchange.listen({ piece, ended, failed: () => undefined });
    };
    const [cert = "", key = ""] = pem;
    const limits = { ...TEST_PORT_LIMITS, drainMs: 0 };
    const port = createPort({ host: "127.0.0.1", port: 0, tls: new TlsDoor({ cert, key }), handler, limits });
    onTestFinished(() => port.drain());
    const { port: number } = await port.listen();
    const client = connectTls({ host: "127.0.0.1", port: number, ca: certificates.ca, ALPNProtocols: ["http/1.1"] });
    onTestFinished(() => void client.destroy());
    client.write("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
    await unread.promise;
    const body = "b".repeat(40_000);
    client.write(`POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: ${body.length}\r\n\r\n${body}`);
    expect(await text(client)).toContain(`received ${body.length}`);
  });
});
