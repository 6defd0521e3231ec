import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { Redis } from "ioredis";
import { afterEach, describe, expect, it } from "vitest";
import { connectRedis, reconnectPauseMs } from "../../src/redis/connect-redis.ts";
import { RedisBus } from "../../src/redis/redis-bus.ts";
import { InProcessBus } from "../../src/revocation/change-bus.ts";
import { describeWithRedis } from "../../testkit/describe-with.ts";
import { eventually } from "../../testkit/eventually.ts";
import { freePort } from "../../testkit/free-port.ts";
import { QUIET_REDIS } from "../../testkit/redis-health.ts";
import { pingRedis, type RedisServer, startRedisServer } from "../../testkit/redis-server.ts";

const closing: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

function openBus(address: ConstructorParameters<typeof RedisBus>[0]["address"]): RedisBus {
  const bus = new RedisBus({
    ...{ address, local: new InProcessBus(), clusterId: "c", commandTimeoutMs: 100 },
    ...{ keys: [Buffer.alloc(32, 1)], onWarning: () => undefined, ...QUIET_REDIS },
  });
  closing.push(() => bus.close());
  return bus;
}

describe("the pause before connecting again", () => {
  it("rises to half a second, of which chance takes up to half", () => {
    expect([1, 2, 10, 1000].map((attempt) => reconnectPauseMs(attempt))).toEqual([50, 100, 500, 500]);
    expect(reconnectPauseMs(1000, () => Uint8Array.of(255))).toBe(250);
    expect(reconnectPauseMs(1000, () => Uint8Array.of(0))).toBe(500);
  });
});

describe("a subscription that is not answered after a reconnection", () => {
  it("is made again, and does not end the process", async () => {
    const rejections: unknown[] = [];
    const note = (reason: unknown) => rejections.push(reason);
    process.on("unhandledRejection", note);
    closing.push(() => process.off("unhandledRejection", note));
    const redis = await startSilentRedis();
    const bus = openBus({ kind: "standalone", url: redis.url });
    await eventually(() => expect(bus.isConnected()).toBe(true));
    redis.ignoreSubscriptions(2);
    redis.cut();
    await eventually(() => expect(redis.ignored()).toBe(2));
    await eventually(() => expect(bus.isConnected()).toBe(true));
    expect(rejections).toEqual([]);
  });
});

describeWithRedis("a connection to Redis", () => {
  it("comes about when Redis starts later, and nothing is sent before", async () => {
    const server = await startRedisServer();
    closing.push(() => server.stop());
    process.kill(server.pid(), "SIGKILL");
    await eventually(() => expect(pingRedis(server.url)).rejects.toThrow());
    const connection = connectRedis({
      address: { kind: "standalone", url: server.url },
      commandTimeoutMs: 100,
    });
    closing.push(() => connection.disconnect());
    await expect(connection.incr("n")).rejects.toThrow();
    await server.restart();
    await eventually(async () => expect(await connection.get("n")).toBeNull());
  });

  it("outlives a node of a cluster that hangs while a slot moves to it, and finds the slot afterwards", async () => {
    const rejections: unknown[] = [];
    const note = (reason: unknown) => rejections.push(reason);
    process.on("unhandledRejection", note);
    closing.push(() => process.off("unhandledRejection", note));
    const [target, owner] = [await startClusterNode(), await startClusterNode()];
    closing.push(
      () => target.stop(),
      () => owner.stop(),
    );
    await joinCluster(target, owner);
    const connection = connectRedis({
      address: { kind: "cluster", urls: [`redis://:p%3Aw@127.0.0.1:${owner.port}`] },
      commandTimeoutMs: 100,
    });
    closing.push(() => connection.disconnect());
    const [moved, ...others] = ["claviger:{c}:x", "claviger:{d}:x"];
    await eventually(async () => expect(await connection.get(moved)).toBeNull());
    const finish = await moveSlot(moved, owner, target);
    target.kill("SIGSTOP");
    // Each is sent to the owner, which names the target; the target does not answer.
    for (let count = 0; count < 5; count++) await expect(connection.get(moved)).rejects.toThrow();
    for (const other of others) expect(await connection.get(other)).toBeNull();
    target.kill("SIGCONT");
    await eventually(async () => expect(await connection.set(moved, "asked")).toBe("OK"));
    await finish();
    await eventually(async () => expect(await connection.get(moved)).toBe("asked"));
    expect(rejections).toEqual([]);
  });

  it("takes its credentials to nodes of a cluster that are in no URL", async () => {
    const [seed, owner] = [await startClusterNode(), await startClusterNode()];
    closing.push(
      () => seed.stop(),
      () => owner.stop(),
    );
    await joinCluster(seed, owner);
    const bus = openBus({ kind: "cluster", urls: [`redis://:p%3Aw@127.0.0.1:${seed.port}`] });
    const connection = connectRedis({
      address: { kind: "cluster", urls: [`redis://:p%3Aw@127.0.0.1:${seed.port}`] },
      commandTimeoutMs: 500,
    });
    closing.push(() => connection.disconnect());
    await eventually(async () => expect(await connection.set("claviger:{c}:x", "1")).toBe("OK"));
    await eventually(() => expect(bus.isConnected()).toBe(true));
  });
});

/** Its cluster bus would by itself be 10,000 above its port, where outgoing connections have theirs. */
async function startClusterNode(): Promise<RedisServer> {
  const busPort = String(await freePort());
  const settings = { "cluster-enabled": "yes", "cluster-port": busPort, requirepass: "p:w", masterauth: "p:w" };
  return await startRedisServer({ settings });
}

/** All slots are the second one's. */
async function joinCluster(seed: RedisServer, owner: RedisServer): Promise<void> {
  const [atSeed, atOwner] = [seed, owner].map(({ url }) => new Redis(url, { password: "p:w" }));
  if (!atSeed || !atOwner) throw new Error("two servers make a cluster");
  await atOwner.call("CLUSTER", "ADDSLOTSRANGE", "0", "16383");
  const [, seedBusPort] = (await atSeed.config("GET", "cluster-port")) as string[];
  await atOwner.call("CLUSTER", "MEET", "127.0.0.1", String(seed.port), String(seedBusPort));
  await eventually(async () => expect(await atSeed.call("CLUSTER", "INFO")).toContain("cluster_state:ok"));
  atSeed.disconnect();
  atOwner.disconnect();
}

/** Begins to move the slot of `key`, so that the owner sends every question about it to the target; returns how to end it. */
async function moveSlot(key: string, owner: RedisServer, target: RedisServer): Promise<() => Promise<void>> {
  const nodes = [owner, target].map(({ url }) => new Redis(url, { password: "p:w" }));
  const [atOwner, atTarget] = nodes;
  if (!atOwner || !atTarget) throw new Error("two servers move a slot");
  const slot = String(await atOwner.call("CLUSTER", "KEYSLOT", key));
  const [ownerId, targetId] = [
    String(await atOwner.call("CLUSTER", "MYID")),
    String(await atTarget.call("CLUSTER", "MYID")),
  ];
  await atTarget.call("CLUSTER", "SETSLOT", slot, "IMPORTING", ownerId);
  await atOwner.call("CLUSTER", "SETSLOT", slot, "MIGRATING", targetId);
  closing.push(() => nodes.forEach((node) => void node.disconnect()));
  return async () => {
    for (const node of [atTarget, atOwner]) await node.call("CLUSTER", "SETSLOT", slot, "NODE", targetId);
  };
}

/** As much of a Redis as ioredis needs to subscribe; it can leave subscriptions without an answer. */
async function startSilentRedis() {
  const sockets = new Set<Socket>();
  const silent = new WeakSet<Socket>();
  let toIgnore = 0;
  let ignored = 0;
  const answer = (command: string, name: string): string => {
    if (command === "hello") return "-ERR unknown command 'HELLO'\r\n";
    if (command === "info") return "$11\r\nloading:0\r\n\r\n";
    if (command !== "subscribe") return "+OK\r\n";
    if (ignored < toIgnore) {
      ignored += 1;
      return "";
    }
    return [1, 2, 3].map((count) => `*3\r\n$9\r\nsubscribe\r\n$${name.length}\r\n${name}\r\n:${count}\r\n`).join("");
  };
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    socket.on("error", () => undefined);
    socket.on("data", (bytes) => {
      for (const command of bytes.toString().split(/(?=\*\d+\r\n)/)) {
        const [, , word = "", , name = ""] = command.split("\r\n");
        const text = answer(word.toLowerCase(), name);
        // Answers come in the order of the questions: after one that is missing there are none.
        if (text === "") silent.add(socket);
        if (!silent.has(socket)) socket.write(text);
      }
    });
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const cut = () => sockets.forEach((socket) => void socket.destroy());
  closing.push(() => {
    cut();
    server.close();
  });
  return {
    url: `redis://127.0.0.1:${(server.address() as AddressInfo).port}`,
    ignoreSubscriptions: (count: number) => {
      toIgnore = count;
    },
    ignored: () => ignored,
    cut,
  };
}
