import { Redis, type RedisOptions } from "ioredis";
import type { TestCertificates } from "./certificates.ts";
import { eventually } from "./eventually.ts";
import { clientTls, type RedisServer, type RedisServerOptions, startRedisServer } from "./redis-server.ts";

export interface RedisSentinelOptions {
  /** Replicas beside the master. Default 1. */
  readonly replicas?: number;
  /** After how many milliseconds a sentinel takes a silent server for down. Default 2000. */
  readonly downAfterMs?: number;
  /** Further settings of master and replicas, such as `{ requirepass: "secret" }`. */
  readonly settings?: RedisServerOptions["settings"];
  readonly tls?: TestCertificates;
  /** Further settings of the sentinels, such as `{ requirepass: "secret" }`. */
  readonly sentinelSettings?: RedisServerOptions["settings"];
  /** Further lines for the sentinels' configuration, such as `sentinel auth-pass main secret`. */
  readonly sentinelLines?: readonly string[];
}

export interface RedisSentinel {
  /** `redis+sentinel://…/main`, or `rediss+…`, without passwords. */
  readonly url: string;
  readonly servers: readonly RedisServer[];
  readonly sentinels: readonly RedisServer[];
  /** The server that most sentinels call the master now. */
  master(): Promise<RedisServer>;
  /** Asks for a planned failover; resolves when another server than before is the master. */
  failOver(): Promise<void>;
  /** Resolves when the sentinels call another server than `old` the master. */
  masterLeaves(old: RedisServer): Promise<RedisServer>;
  stop(): Promise<void>;
}

const SENTINELS = 3;
/** A failover takes as long as the sentinels wait, and an election or two. */
const FAILOVER_MS = 40_000;
const FAILOVER_TIMEOUT_MS = 10_000;
/** A sentinel has given a failover up after its time-out, and a while on a slow machine. */
const GIVEN_UP_MS = FAILOVER_TIMEOUT_MS + 5000;

/** A master, its replicas and three sentinels of the caller's own; nothing is kept on disk. */
export async function startRedisSentinel(options: RedisSentinelOptions = {}): Promise<RedisSentinel> {
  const { replicas = 1, downAfterMs = 2000, settings = {}, sentinelSettings = {}, sentinelLines = [], tls } = options;
  const access = { ...oneTry, password: sentinelSettings.requirepass, tls: tls && clientTls(tls) };
  const servers: RedisServer[] = [];
  const sentinels: RedisServer[] = [];
  const stop = async () => {
    await Promise.all([...sentinels, ...servers].map((server) => server.stop()));
  };

  const votes = async (): Promise<string[]> => {
    const told = await Promise.allSettled(
      sentinels.map(async ({ url }) => {
        const sentinel = new Redis(url, access);
        sentinel.on("error", () => undefined);
        try {
          const address = await sentinel.call("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "main");
          return Array.isArray(address) ? String(address[1]) : "";
        } finally {
          sentinel.disconnect();
        }
      }),
    );
    return told.flatMap((one) => (one.status === "fulfilled" ? [one.value] : []));
  };
  const master = async (): Promise<RedisServer> => {
    const ports = await votes();
    const found = servers.find(({ port }) => ports.filter((voted) => voted === String(port)).length >= 2);
    if (found === undefined) throw new Error("two sentinels do not agree on a master; wait, and ask again");
    return found;
  };
  const masterLeaves = (old: RedisServer, withinMs = FAILOVER_MS) =>
    eventually(
      async () => {
        const now = await master();
        if (now === old) throw new Error("no other master was elected; look at the sentinels");
        return now;
      },
      { withinMs },
    );

  try {
    const first = await startRedisServer({ settings: { ...settings, ...quickReplica }, tls });
    servers.push(first);
    for (let replica = 0; replica < replicas; replica++) {
      servers.push(
        await startRedisServer({
          ...{ settings: { ...settings, replicaof: `127.0.0.1 ${first.port}`, ...quickReplica }, tls },
        }),
      );
    }
    for (let sentinel = 0; sentinel < SENTINELS; sentinel++) {
      const lines = [
        `sentinel monitor main 127.0.0.1 ${first.port} 2`,
        `sentinel down-after-milliseconds main ${downAfterMs}`,
        `sentinel failover-timeout main ${FAILOVER_TIMEOUT_MS}`,
        ...sentinelLines,
      ];
      sentinels.push(await startRedisServer({ settings: sentinelSettings, sentinel: lines, tls }));
    }
    await eventually(() => knowEachOther(sentinels, { replicas, access }), {
      withinMs: FAILOVER_MS,
    });
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    url: `${tls ? "rediss" : "redis"}+sentinel://${sentinels.map(({ port }) => `127.0.0.1:${port}`).join(",")}/main`,
    ...{ servers, sentinels, master, masterLeaves, stop },
    failOver: async () => {
      const old = await master();
      const [sentinel] = sentinels as [RedisServer];
      // A sentinel gives a planned failover up, and does not try it again, when the replica lags on a slow machine.
      await eventually(
        async () => {
          if ((await master()) !== old) return;
          const connection = new Redis(sentinel.url, access);
          try {
            await connection.call("SENTINEL", "FAILOVER", "main");
          } finally {
            connection.disconnect();
          }
          await masterLeaves(old, GIVEN_UP_MS);
        },
        { withinMs: 2 * FAILOVER_MS, everyMs: 500 },
      );
    },
  };
}

/** A test waits for it: no delay before a full copy. */
const quickReplica = { "repl-diskless-sync": "yes", "repl-diskless-sync-delay": "0" };
const oneTry = { retryStrategy: () => null, enableReadyCheck: false, connectTimeout: 2000, commandTimeout: 2000 };

/** Throws until each sentinel knows the two others and the replicas. */
async function knowEachOther(
  sentinels: readonly RedisServer[],
  expected: { readonly replicas: number; readonly access: Omit<RedisOptions, "replyMapping"> },
): Promise<void> {
  for (const { url } of sentinels) {
    const sentinel = new Redis(url, expected.access);
    try {
      const fields = (await sentinel.call("SENTINEL", "MASTER", "main")) as string[];
      const numberOf = (name: string) => Number(fields[fields.indexOf(name) + 1]);
      if (numberOf("num-other-sentinels") < SENTINELS - 1 || numberOf("num-slaves") < expected.replicas) {
        throw new Error("the sentinels do not know each other and the replicas yet");
      }
    } finally {
      sentinel.disconnect();
    }
  }
}
