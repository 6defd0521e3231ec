import { Redis, type RedisOptions } from "ioredis";
import type { TestCertificates } from "./certificates.ts";
import { eventually } from "./eventually.ts";
import { freePort } from "./free-port.ts";
import { clientTls, type RedisServer, type RedisServerOptions, startRedisServer } from "./redis-server.ts";
import { outputOf } from "./run-program.ts";

export interface RedisClusterOptions {
  /** After how many milliseconds a silent node is taken for down. Default 2000. */
  readonly nodeTimeoutMs?: number;
  /** Whether the nodes are joined to a cluster. Default true. */
  readonly isFormed?: boolean;
  /** Further settings of every node. */
  readonly settings?: RedisServerOptions["settings"];
  readonly tls?: TestCertificates;
}

export interface RedisCluster {
  /** `redis://…,redis://…` of all six. */
  readonly url: string;
  readonly nodes: readonly RedisServer[];
  /** The master that has the slot of `key` now, according to the other nodes that answer. */
  ownerOf(key: string): Promise<RedisServer>;
  /** Resolves when another node than `old` has the slot of `key`. */
  ownerLeaves(key: string, old: RedisServer): Promise<RedisServer>;
  /** Moves `slots` slots of `from` to `to`, with all that is in them. */
  reshard(from: RedisServer, to: RedisServer, slots: number): Promise<void>;
  stop(): Promise<void>;
}

const MASTERS = 3;
const SLOTS = 16384;
/** As long as a node may be silent, and an election or two. */
const FAILOVER_MS = 40_000;
const oneTry = { retryStrategy: () => null, enableReadyCheck: false, connectTimeout: 1000, commandTimeout: 1000 };

/** Three masters with a replica each, of the caller's own; nothing is kept on disk. */
export async function startRedisCluster(options: RedisClusterOptions = {}): Promise<RedisCluster> {
  const { nodeTimeoutMs = 2000, isFormed = true, settings = {}, tls } = options;
  const access = { ...oneTry, password: settings.requirepass, tls: tls && clientTls(tls) };
  const nodes: RedisServer[] = [];
  const busPorts: number[] = [];
  const stop = async () => {
    await Promise.all(nodes.map((node) => node.stop()));
  };

  /** The result of `use` on the first node that answers. */
  const askAny = async <T>(use: (node: Redis) => Promise<T>): Promise<T> => {
    let failure: unknown;
    for (const { url } of nodes) {
      try {
        return await withNode(url, access, use);
      } catch (error) {
        failure = error;
      }
    }
    throw failure;
  };
  const ownerOf = async (key: string): Promise<RedisServer> => {
    const slot = Number(await askAny((node) => node.call("CLUSTER", "KEYSLOT", key)));
    const owners = (await askAny((node) => node.call("CLUSTER", "SLOTS"))) as [number, number, [string, number]][];
    const range = owners.find(([first, last]) => first <= slot && slot <= last);
    const owner = nodes.find(({ port }) => port === range?.[2][1]);
    if (owner === undefined) throw new Error(`no node has slot ${slot}; wait, and ask again`);
    return owner;
  };

  try {
    for (let node = 0; node < 2 * MASTERS; node++) {
      // By itself it would be 10,000 above the port, where outgoing connections have theirs.
      const busPort = await freePort();
      busPorts.push(busPort);
      nodes.push(
        await startRedisServer({
          settings: {
            ...{ "cluster-enabled": "yes", "cluster-port": String(busPort) },
            ...{ "cluster-node-timeout": String(nodeTimeoutMs), "repl-diskless-sync-delay": "0" },
            ...settings,
          },
          tls,
        }),
      );
    }
    if (isFormed) await form(nodes, busPorts, access);
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    url: nodes.map(({ url }) => url).join(","),
    ...{ nodes, ownerOf, stop },
    ownerLeaves: (key, old) =>
      eventually(
        async () => {
          const now = await ownerOf(key);
          if (now === old) throw new Error("no replica was promoted; look at the nodes");
          return now;
        },
        { withinMs: FAILOVER_MS },
      ),
    reshard: async (from, to, slots) => {
      const idOf = ({ url }: RedisServer) =>
        withNode(url, access, async (node) => String(await node.call("CLUSTER", "MYID")));
      const [source, target] = [await idOf(from), await idOf(to)];
      await outputOf("redis-cli", [
        ...["--cluster", "reshard", `127.0.0.1:${from.port}`, "--cluster-from", source, "--cluster-to", target],
        ...["--cluster-slots", String(slots), "--cluster-yes"],
        ...(settings.requirepass === undefined ? [] : ["-a", settings.requirepass, "--no-auth-warning"]),
      ]);
    },
  };
}

/** The first three get a third of the slots each, the others are their replicas. */
async function form(
  nodes: readonly RedisServer[],
  busPorts: readonly number[],
  access: Omit<RedisOptions, "replyMapping">,
): Promise<void> {
  const [first] = nodes as [RedisServer];
  const on = <T>(at: number, use: (node: Redis) => Promise<T>) => withNode((nodes[at] as RedisServer).url, access, use);
  for (let at = 0; at < MASTERS; at++) {
    const [from, to] = [Math.ceil((at * SLOTS) / MASTERS), Math.ceil(((at + 1) * SLOTS) / MASTERS) - 1];
    await on(at, (node) => node.call("CLUSTER", "ADDSLOTSRANGE", String(from), String(to)));
  }
  // Without epochs of their own two masters would first have to settle which is newer.
  for (let at = 0; at < nodes.length; at++) {
    await on(at, (node) => node.call("CLUSTER", "SET-CONFIG-EPOCH", String(at + 1)));
  }
  for (let at = 1; at < nodes.length; at++) {
    await on(at, (node) => node.call("CLUSTER", "MEET", "127.0.0.1", String(first.port), String(busPorts[0])));
  }
  for (let at = MASTERS; at < nodes.length; at++) {
    const master = String(await on(at - MASTERS, (node) => node.call("CLUSTER", "MYID")));
    await eventually(() => on(at, (node) => node.call("CLUSTER", "REPLICATE", master)), { withinMs: FAILOVER_MS });
  }
  for (let at = 0; at < nodes.length; at++) {
    await eventually(
      async () => {
        const info = String(await on(at, (node) => node.call("CLUSTER", "INFO")));
        const replication = await on(at, (node) => node.info("replication"));
        const isReplicated =
          at < MASTERS ? /state=online/.test(replication) : /master_link_status:up/.test(replication);
        const isWhole = /cluster_state:ok/.test(info) && /cluster_known_nodes:6/.test(info);
        if (!isWhole || !isReplicated) throw new Error("the cluster is not whole yet");
      },
      { withinMs: FAILOVER_MS },
    );
  }
}

async function withNode<T>(
  url: string,
  access: Omit<RedisOptions, "replyMapping">,
  use: (node: Redis) => Promise<T>,
): Promise<T> {
  const node = new Redis(url, access);
  node.on("error", () => undefined);
  try {
    return await use(node);
  } finally {
    node.disconnect();
  }
}
