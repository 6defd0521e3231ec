import { once } from "node:events";
import { readFileSync } from "node:fs";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { afterAll, beforeAll, expect, it, onTestFinished } from "vitest";
import { makeCertificates, type TestCertificates } from "../../../testkit/certificates.ts";
import { describeWithOpenssl } from "../../../testkit/describe-with.ts";
import { TlsDoor } from "./tls.ts";

describeWithOpenssl("a door with a certificate", () => {
  let certificates: TestCertificates;
  let door: TlsDoor;

  beforeAll(async () => {
    certificates = await makeCertificates();
    const [cert, key] = [certificates.certFile, certificates.keyFile].map((file) => readFileSync(file, "utf8"));
    door = new TlsDoor({ cert: cert ?? "", key: key ?? "" });
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
});
