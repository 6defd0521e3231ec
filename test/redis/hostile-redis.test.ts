import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, expect, it } from "vitest";
import { RedisLimiter } from "../../src/redis/limiter.ts";
import type { RedisAddress } from "../../src/redis/parse-redis-url.ts";
import { RedisBus } from "../../src/redis/redis-bus.ts";
import { RedisRevocationSet } from "../../src/redis/revocation-set.ts";
import { InProcessBus } from "../../src/revocation/change-bus.ts";
import { Chance } from "../../testkit/chance.ts";
import { QUIET_REDIS } from "../../testkit/redis-health.ts";

const SEED = 11;
/** Commands that get through the handshake, so that they can be answered badly. */
const COMMANDS = 200;
const MOST_MS = 120_000;

const closing: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

const subscribed = (names: readonly string[]) =>
  names.map((name, at) => `*3\r\n$9\r\nsubscribe\r\n$${name.length}\r\n${name}\r\n:${at + 1}\r\n`).join("");

/** What a Redis that fails, fails over, is resharded, or is none, may say of any command. */
function misbehaviours(port: number): readonly string[] {
  const errors = [
    "LOADING dataset",
    "READONLY replica",
    "CLUSTERDOWN",
    "NOAUTH",
    "ERR unknown command",
    "TRYAGAIN",
    "MASTERDOWN",
  ];
  return [
    ...errors.map((error) => `-${error}\r\n`),
    ...[`-MOVED 1 127.0.0.1:${port}\r\n`, `-ASK 1 127.0.0.1:${port}\r\n`, `-MOVED 1 :${port}\r\n`],
    ...[
      "",
      "",
      "",
      "*-1\r\n",
      ":7\r\n",
      "$-1\r\n",
      "*3\r\n$9\r\nsubscribe\r\n",
      "no reply at all",
      "*2\r\n:0\r\n*0\r\n",
    ],
  ];
}

async function startHostileRedis(): Promise<{ readonly port: number; readonly asked: () => number }> {
  const chance = new Chance(SEED);
  const sockets = new Set<Socket>();
  let asked = 0;
  const plain = (words: readonly string[], port: number): string => {
    const [command = "", second = ""] = words.map((word) => word.toLowerCase());
    if (command === "hello") return "-ERR unknown command 'HELLO'\r\n";
    if (command === "info") return "$34\r\nrun_id:0123456789abcdef\r\nloading:0\r\n";
    if (command === "cluster") return `*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$9\r\n127.0.0.1\r\n:${port}\r\n`;
    if (command === "sentinel" && second === "get-master-addr-by-name") {
      return `*2\r\n$9\r\n127.0.0.1\r\n$${String(port).length}\r\n${port}\r\n`;
    }
    if (command === "sentinel") return "*0\r\n";
    if (command === "role") return "*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n";
    return command === "subscribe" ? subscribed(words.slice(1)) : "+OK\r\n";
  };
  const server = createServer((socket) => {
    const { port } = server.address() as AddressInfo;
    const answers = misbehaviours(port);
    const badAnswer = ([command]: readonly string[]) => {
      const answer = chance.pick(answers) ?? "";
      // Of a reply without slots, or without channels, ioredis 6.0.0 throws; no Redis gives one.
      return (command === "cluster" || command === "subscribe") && !answer.startsWith("-") ? "" : answer;
    };
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    socket.on("error", () => undefined);
    socket.on("data", (bytes) => {
      for (const text of bytes.toString().split(/(?=\*\d+\r\n\$)/)) {
        const words = text.split("\r\n").filter((_, at) => at > 0 && at % 2 === 0);
        if (words[0] === "eval" || words[0] === "publish") asked += 1;
        if (chance.flip(0.01)) socket.destroy();
        else if (!socket.destroyed) socket.write(chance.flip(0.06) ? badAnswer(words) : plain(words, port));
      }
    });
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  closing.push(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { port: (server.address() as AddressInfo).port, asked: () => asked };
}

const KINDS: readonly (readonly [kind: string, address: (port: number) => RedisAddress, commands: number])[] = [
  ["one server", (port) => ({ kind: "standalone", url: `redis://127.0.0.1:${port}` }), COMMANDS],
  ["a cluster", (port) => ({ kind: "cluster", urls: [`redis://127.0.0.1:${port}`] }), COMMANDS],
  [
    "sentinels",
    (port) => ({
      ...{ kind: "sentinel", sentinels: [{ host: "127.0.0.1", port }], name: "main", tls: false },
      ...{ username: undefined, password: undefined },
    }),
    // Each answer that is bad has the sentinels asked again, which takes most of the time.
    COMMANDS / 4,
  ],
];

it.each(KINDS)("no promise goes unheard, whatever %s may answer or not", async (_, addressOf, commands) => {
  const unheard: unknown[] = [];
  const note = (reason: unknown) => unheard.push(reason);
  for (const event of ["unhandledRejection", "uncaughtException"]) {
    process.on(event, note);
    closing.push(() => process.off(event, note));
  }
  const redis = await startHostileRedis();
  const options = { address: addressOf(redis.port), clusterId: "c", commandTimeoutMs: 20, ...QUIET_REDIS };
  const bus = new RedisBus({
    ...{ ...options, local: new InProcessBus(), keys: [Buffer.alloc(32, 1)], onWarning: () => undefined },
  });
  const set = new RedisRevocationSet(options);
  const limiter = new RedisLimiter({ ...options, timeoutMs: 20, readCharged: async () => 0 });
  closing.push(() => Promise.all([bus.close(), set.close(), limiter.close()]));
  const limits = { requestsPerSecond: 5, burst: 0, requestsPerDay: 100 };
  const endMs = performance.now() + MOST_MS;
  for (let revision = 1; redis.asked() < commands && performance.now() < endMs; revision++) {
    bus.acknowledge({ epoch: "e", revision, identity: "db" });
    await Promise.allSettled([
      bus.push({ revision, identity: "db", keyIds: ["key_a"] }),
      ...[set.readMarker(), set.initialise("m", 1), set.write("m", ["key_a"], revision), set.holds("m", ["key_a"], 1)],
      ...[set.look("key_a"), set.trim("m", 1)],
      limiter.charge({ keyId: `key_${revision % 9}`, limits, costs: [1] }),
    ]);
    await sleep(1);
  }
  // What is still on its way comes to its end.
  await sleep(300);
  expect(unheard).toEqual([]);
  expect(redis.asked()).toBeGreaterThanOrEqual(commands);
});
