import { once } from "node:events";
import { cp, mkdtemp, readFile, rm } from "node:fs/promises";
import { connect as connectHttp2 } from "node:http2";
import { get } from "node:https";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { connect as connectTls } from "node:tls";
import { createClient, type Transport } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport, createGrpcWebTransport } from "@connectrpc/connect-node";
import * as grpc from "@grpc/grpc-js";
import { afterAll, beforeAll, expect, inject, it } from "vitest";
import { KeyVerifier, Verdict } from "#gen/claviger/v1/key_verifier_pb.js";
import { makeCertificates, type TestCertificates } from "../../testkit/certificates.ts";
import { describeWithOpenssl } from "../../testkit/describe-with.ts";
import { type ServerProcess, startServer } from "../../testkit/server-process.ts";
import { createGrpcJsClient } from "./grpc-js.ts";

describeWithOpenssl("a port with a certificate", () => {
  let certificates: TestCertificates;
  let folder: string;
  let server: ServerProcess;
  let token: string;

  beforeAll(async () => {
    certificates = await makeCertificates();
    folder = await mkdtemp(join(tmpdir(), "claviger-tls-"));
    await cp(inject("embedded").template, join(folder, "database"), { recursive: true });
    server = await start(certificates.keyFile);
    token = (await readFile(join(folder, "admin-key"), "utf8")).trim();
  });
  afterAll(async () => {
    await server?.stop();
    certificates?.remove();
    await rm(folder, { recursive: true, force: true });
  });

  const start = (keyFile: string) =>
    startServer({
      args: ["--data-dir", folder, "--tls-cert", certificates.certFile, "--tls-key", keyFile],
      env: { CLAVIGER_LOG_LEVEL: "silent" },
    });

  const ways: readonly (readonly [string, (options: object) => Transport])[] = [
    ["gRPC", (nodeOptions) => createGrpcTransport({ baseUrl: server.url, nodeOptions })],
    ["gRPC-Web", (nodeOptions) => createGrpcWebTransport({ baseUrl: server.url, httpVersion: "1.1", nodeOptions })],
    [
      "Connect on HTTP/1.1",
      (nodeOptions) => createConnectTransport({ baseUrl: server.url, httpVersion: "1.1", nodeOptions }),
    ],
    [
      "Connect on HTTP/2",
      (nodeOptions) => createConnectTransport({ baseUrl: server.url, httpVersion: "2", nodeOptions }),
    ],
  ];

  it.each(ways)("serves %s", async (_, open) => {
    const client = createClient(KeyVerifier, open({ ca: certificates.ca }));
    const headers = { authorization: `Bearer ${token}` };
    const { verdict } = await client.verify({ secret: token }, { headers });
    expect(verdict).toBe(Verdict.VALID);
  });

  it("serves grpc-js", async () => {
    const security = grpc.credentials.createSsl(Buffer.from(certificates.ca));
    const client = createGrpcJsClient({ address: `localhost:${server.port}`, token, security });
    const { message } = await client.call("KeyVerifier/Verify", { secret: token });
    client.close();
    expect(message.verdict).toBe("VERDICT_VALID");
  });

  it.each([
    ["h2", ["h2", "http/1.1"]],
    ["http/1.1", ["http/1.1"]],
  ])("agrees on %s by ALPN", async (agreed, ALPNProtocols) => {
    const socket = connectTls({ host: "127.0.0.1", port: server.port, ca: certificates.ca, ALPNProtocols });
    await once(socket, "secureConnect");
    expect(socket.alpnProtocol).toBe(agreed);
    socket.destroy();
  });

  it("serves metrics over HTTPS", async () => {
    const request = get(`${server.url}/metrics`, { ca: certificates.ca });
    const [response] = await once(request, "response");
    expect([response.statusCode, await text(response)]).toEqual([200, expect.stringContaining("claviger_")]);
  });

  it("ends a connection in clear, and one that stops in its handshake, and serves on", async () => {
    for (const bytes of [
      "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
      "GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n",
      "\x16\x03\x01",
    ]) {
      const socket = connect({ host: "127.0.0.1", port: server.port }).on("error", () => undefined);
      const closed = once(socket, "close");
      socket.resume().end(bytes);
      await closed;
    }
    const session = connectHttp2(server.url, { ca: certificates.ca });
    const [settings] = await once(session, "remoteSettings");
    expect(settings).toMatchObject({ maxConcurrentStreams: 128 });
    session.destroy();
  });

  it("stops at once beside clients that are idle, of both versions, and one in its handshake", async () => {
    const { certFile, keyFile } = certificates;
    const other = await mkdtemp(join(tmpdir(), "claviger-tls-"));
    await cp(inject("embedded").template, join(other, "database"), { recursive: true });
    // A client that kept it from stopping would keep it beyond the test's patience.
    const policy = JSON.stringify({ port: { drainMs: 600_000 } });
    const stopping = await startServer({
      args: ["--data-dir", other, "--tls-cert", certFile, "--tls-key", keyFile],
      env: { CLAVIGER_LOG_LEVEL: "silent", CLAVIGER_POLICY: policy },
    });
    const address = { host: "127.0.0.1", port: stopping.port };
    const session = connectHttp2(stopping.url, { ca: certificates.ca }).on("error", () => undefined);
    await once(session, "remoteSettings");
    const plain = connectTls({ ...address, ca: certificates.ca, ALPNProtocols: ["http/1.1"] });
    plain.on("error", () => undefined).write("GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n");
    await once(plain, "data");
    const handshaking = connect(address).on("error", () => undefined);
    await once(handshaking, "connect");
    handshaking.write("\x16\x03\x01");
    expect(await stopping.stop()).toBe(0);
    for (const socket of [session, plain, handshaking]) socket.destroy();
    await rm(other, { recursive: true, force: true });
  });

  it("refuses to start with a key of another certificate, and says so", async () => {
    const other = await makeCertificates();
    const started = start(other.keyFile);
    await expect(started).rejects.toThrow("--tls-key is not the key of the certificate in CLAVIGER_TLS_CERT");
    other.remove();
  });
});
