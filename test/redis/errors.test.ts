import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { connectRedis } from "../../src/redis/connect-redis.ts";
import { describeRedisError, REPLY_ERRORS } from "../../src/redis/errors.ts";
import { eventually } from "../../testkit/eventually.ts";

const closing: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

/** What Redis 7 says, word for word where it says more than the class. */
const REPLIES: Readonly<Record<string, string>> = {
  READONLY: "READONLY You can't write against a read only replica.",
  NOAUTH: "NOAUTH Authentication required.",
  WRONGPASS: "WRONGPASS invalid username-password pair or user is disabled.",
  NOPERM: "NOPERM this user has no permissions to run the 'eval' command",
  LOADING: "LOADING Redis is loading the dataset in memory",
  BUSY: "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
  UNKILLABLE: "UNKILLABLE Sorry the script already executed write commands against the dataset.",
  MASTERDOWN: "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
  OOM: "OOM command not allowed when used memory > 'maxmemory'.",
  MISCONF: "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.",
  NOREPLICAS: "NOREPLICAS Not enough good replicas to write.",
  CLUSTERDOWN: "CLUSTERDOWN The cluster is down",
  TRYAGAIN: "TRYAGAIN Multiple keys request during rehashing of slot",
  MOVED: "MOVED 3999 127.0.0.1:6381",
  ASK: "ASK 3999 127.0.0.1:6381",
  CROSSSLOT: "CROSSSLOT Keys in request don't hash to the same slot",
  NOSCRIPT: "NOSCRIPT No matching script. Please use EVAL.",
  WRONGTYPE: "WRONGTYPE Operation against a key holding the wrong kind of value",
};
const LEFT = ["READONLY", "NOAUTH", "WRONGPASS"];

describe("an error of Redis", () => {
  it("of every class has a decision", () => {
    expect(Object.keys(REPLIES)).toEqual(Object.keys(REPLY_ERRORS));
  });

  it.each(Object.entries(REPLIES))("%s fails the command, and the connection is kept or left", async (code, reply) => {
    const redis = await startRefusingRedis(reply);
    const connection = connectRedis({ address: { kind: "standalone", url: redis.url }, commandTimeoutMs: 1000 });
    closing.push(() => connection.disconnect());
    await eventually(() => expect(connection.status).toBe("ready"));
    const error: unknown = await connection.eval("return 1", 0).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ name: "ReplyError", message: reply });
    const [first = "", advice = ""] = describeRedisError(error).split(/\. (?=[A-Z](?!.*\. ))/);
    expect(first.startsWith(code)).toBe(true);
    expect(advice).toMatch(/^[A-Z].{10,}[^.]$/);
    if (LEFT.includes(code)) await eventually(() => expect(redis.connections()).toBeGreaterThan(1));
    await eventually(async () => expect(await connection.ping()).toBe("PONG"));
    expect(redis.connections()).toBe(LEFT.includes(code) ? 2 : 1);
    expect(redis.asked()).toBe(1);
  });

  it("inside of a script of Redis 6 is known too", async () => {
    const reply =
      "ERR Error running script (call to f_1): @user_script:14: -READONLY You can't write against a replica.";
    const redis = await startRefusingRedis(reply);
    const connection = connectRedis({ address: { kind: "standalone", url: redis.url }, commandTimeoutMs: 1000 });
    closing.push(() => connection.disconnect());
    await eventually(() => expect(connection.status).toBe("ready"));
    await expect(connection.eval("return 1", 0)).rejects.toThrow("READONLY");
    await eventually(() => expect(redis.connections()).toBe(2));
  });
});

describe("what an operator reads", () => {
  const network = (code: string, message: string) => Object.assign(new Error(message), { code });

  it.each([
    [network("ECONNREFUSED", "connect ECONNREFUSED 127.0.0.1:1"), "connect ECONNREFUSED 127.0.0.1:1. Start Redis"],
    [network("ENOENT", "connect ENOENT /run/redis.sock"), "connect ENOENT /run/redis.sock. Start Redis, or correct"],
    [network("EACCES", "connect EACCES /run/redis.sock"), "Let the server's user open the socket"],
    [network("SELF_SIGNED_CERT_IN_CHAIN", "self-signed certificate in certificate chain"), "Name the CA of Redis in"],
    [network("ERR_TLS_CERT_ALTNAME_INVALID", "Hostname/IP does not match"), "its name in REDIS_URL as the certificate"],
    [network("ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED", "alert 116"), "Give a client certificate in REDIS_TLS_CERT"],
    [network("ERR_SSL_WRONG_VERSION_NUMBER", "wrong version number"), "give redis:// instead of rediss://"],
    [network("ECONNRESET", "read ECONNRESET"), "give rediss:// instead of redis://"],
    [new Error("Command timed out"), "Redis does not answer. Start Redis, or correct its address in REDIS_URL"],
    [new Error("Cluster isn't ready and enableOfflineQueue options is false"), "See whether the cluster is formed"],
    [
      Object.assign(new Error("Failed to refresh slots cache."), { lastNodeError: new Error("WRONGPASS no") }),
      "WRONGPASS no. Correct the user and the password in REDIS_URL, or",
    ],
  ])("of %s says what to do", (error, text) => {
    expect(describeRedisError(error)).toContain(text);
  });
});

/** Takes every connection, and answers each EVAL with that error. */
async function startRefusingRedis(reply: string) {
  const sockets = new Set<Socket>();
  let connections = 0;
  let asked = 0;
  const answer = (word: string): string => {
    if (word === "hello") return "-ERR unknown command 'HELLO'\r\n";
    if (word === "eval") asked += 1;
    return word === "eval" ? `-${reply}\r\n` : word === "ping" ? "+PONG\r\n" : "+OK\r\n";
  };
  const server = createServer((socket) => {
    connections += 1;
    sockets.add(socket);
    socket.on("error", () => undefined);
    socket.on("data", (bytes) => {
      for (const command of bytes.toString().split(/(?=\*\d+\r\n\$)/)) {
        const [, , word = ""] = command.split("\r\n");
        socket.write(answer(word.toLowerCase()));
      }
    });
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  closing.push(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return {
    url: `redis://127.0.0.1:${(server.address() as AddressInfo).port}`,
    connections: () => connections,
    asked: () => asked,
  };
}
