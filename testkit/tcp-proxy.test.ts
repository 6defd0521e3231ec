import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { eventually } from "./eventually.ts";
import { createTcpProxy, type TcpProxy } from "./tcp-proxy.ts";

describe("the TCP proxy", () => {
  let echo: Server;
  let proxy: TcpProxy;
  let heard: string;

  beforeEach(async () => {
    heard = "";
    echo = createServer((socket) => {
      socket.on("data", (bytes) => {
        heard += bytes;
        socket.write(bytes);
      });
      socket.on("error", () => undefined);
    });
    echo.listen(0, "127.0.0.1");
    await once(echo, "listening");
    proxy = await createTcpProxy({ port: (echo.address() as AddressInfo).port });
  });
  afterEach(async () => {
    await proxy.close();
    echo.close();
  });

  async function dial(): Promise<{ socket: Socket; received: () => string }> {
    const socket = connect({ port: proxy.port, host: "127.0.0.1", allowHalfOpen: true });
    let text = "";
    socket.on("data", (bytes) => {
      text += bytes;
    });
    await once(socket, "connect");
    return { socket, received: () => text };
  }
  const arrives = (received: () => string, text: string) => eventually(() => expect(received()).toBe(text));

  test("passes a megabyte through unchanged", async () => {
    const { socket, received } = await dial();
    const megabyte = "0123456789abcdef".repeat(65_536);
    socket.end(megabyte);
    await arrives(received, megabyte);
    await eventually(() => expect(proxy.connectionCount()).toBe(0));
  });

  test("hang() holds bytes of old and new connections, and resume() delivers them", async () => {
    const old = await dial();
    old.socket.write("a");
    await arrives(old.received, "a");
    proxy.hang();
    const young = await dial();
    old.socket.write("b");
    young.socket.write("c");
    await sleep(100);
    expect([old.received(), young.received(), heard]).toEqual(["a", "", "a"]);
    await proxy.resume();
    await arrives(old.received, "ab");
    await arrives(young.received, "c");
  });

  test("reset() cuts a connection with RST, and new ones pass", async () => {
    const { socket } = await dial();
    await eventually(() => expect(proxy.connectionCount()).toBe(1));
    const failed = once(socket, "error");
    proxy.reset();
    expect(await failed).toEqual([expect.objectContaining({ code: "ECONNRESET" })]);
    const next = await dial();
    next.socket.write("on");
    await arrives(next.received, "on");
  });

  test("latency() delays each direction and keeps the order, also when it ends", async () => {
    const { socket, received } = await dial();
    proxy.latency(80);
    const start = performance.now();
    socket.write("slow ");
    await sleep(20);
    await proxy.resume();
    socket.write("fast");
    await arrives(received, "slow fast");
    expect(performance.now() - start).toBeGreaterThanOrEqual(79);
  });

  test("swallow() throws away what the server says, which still hears the client, until resume()", async () => {
    const { socket, received } = await dial();
    socket.write("a");
    await arrives(received, "a");
    proxy.swallow();
    socket.write("b");
    await eventually(() => expect(heard).toBe("ab"));
    await sleep(50);
    await proxy.resume();
    socket.write("c");
    await arrives(received, "ac");
  });

  test("halfClose() ends what the client reads, while the server still hears the client", async () => {
    const { socket } = await dial();
    await eventually(() => expect(proxy.connectionCount()).toBe(1));
    const ended = once(socket, "end");
    proxy.halfClose();
    await ended;
    socket.write("still here");
    await eventually(() => expect(heard).toBe("still here"));
    socket.destroy();
  });

  test("refuse() refuses new connections only, on a port that resume() opens again", async () => {
    const { socket, received } = await dial();
    await proxy.refuse();
    await expect(dial()).rejects.toMatchObject({ code: "ECONNREFUSED" });
    socket.write("old");
    await arrives(received, "old");
    await proxy.resume();
    const next = await dial();
    next.socket.write("new");
    await arrives(next.received, "new");
  });
});
