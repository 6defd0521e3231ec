import { once } from "node:events";
import { createServer, type Server, ServerResponse } from "node:http";
import { type AddressInfo, connect, type Socket } from "node:net";
import { text } from "node:stream/consumers";
import { afterEach, describe, expect, it } from "vitest";
import { principalOf, requireKey, withKey } from "../../src/sdk/http/index.ts";
import { FakeVerifier } from "../../src/sdk/testing/fake-verifier.ts";

const verifier = new FakeVerifier();
let server: Server;
afterEach(() => void server.close());

/** What comes back when a client asks to upgrade. */
async function upgrade(headers: Record<string, string>): Promise<string> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const socket = connect((server.address() as AddressInfo).port, "127.0.0.1");
  const fields = Object.entries({ host: "a", connection: "upgrade", upgrade: "websocket", ...headers });
  socket.write(`GET / HTTP/1.1\r\n${fields.map(([name, value]) => `${name}: ${value}\r\n`).join("")}\r\n`);
  return await text(socket);
}

const accept = (socket: Socket, by: string) => socket.end(`HTTP/1.1 101 Switching Protocols\r\nby: ${by}\r\n\r\n`);

describe("an upgrade to a WebSocket, checked as on the page of the SDK", () => {
  function serve(): void {
    const door = requireKey(verifier, { scopes: ["chat:join"] });
    server = createServer(withKey(verifier, (_, res) => void res.end("hello")));
    server.on("upgrade", (req, duplex) => {
      const socket = duplex as Socket;
      const response = new ServerResponse(req);
      response.shouldKeepAlive = false;
      response.on("finish", () => socket.destroySoon());
      socket.on("error", () => socket.destroy());
      response.assignSocket(socket);
      door(req, response, () => {
        response.detachSocket(socket);
        accept(socket, principalOf(req).key.owner);
      });
    });
  }

  it.each([
    [{}, /^HTTP\/1.1 401 .*CREDENTIAL_MISSING/s],
    [{ authorization: "Bearer clv_live_typo" }, /^HTTP\/1.1 401 .*CREDENTIAL_INVALID/s],
    [{ authorization: `Bearer ${verifier.addKey("bob")}` }, /^HTTP\/1.1 403 .*SCOPE_MISSING/s],
    [{ "x-api-key": verifier.addKey("alice", { scopes: ["chat:*"] }) }, /^HTTP\/1.1 101 .*by: alice/s],
  ])("with %j is answered by %s", async (headers, answer) => {
    serve();
    expect(await upgrade(headers as Record<string, string>)).toMatch(answer);
  });

  it("control: passes withKey by", async () => {
    server = createServer(withKey(verifier, (_, res) => void res.end("hello")));
    server.on("upgrade", (_, socket) => accept(socket as Socket, "nobody"));
    expect(await upgrade({})).toMatch(/^HTTP\/1.1 101 .*by: nobody/s);
  });
});
