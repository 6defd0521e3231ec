import { setTimeout as sleep } from "node:timers/promises";
import { Redis } from "ioredis";
import postgres from "postgres";
import type { Chance } from "../../testkit/chance.ts";
import type { Cluster, Node } from "./cluster.ts";

/** Breaks something, keeps it broken for a while, and mends it. */
export interface Nemesis {
  readonly name: string;
  readonly strike: (cluster: Cluster, chance: Chance) => Promise<void>;
}

export const node = ({ nodes }: Cluster, chance: Chance): Node => {
  const found = chance.pick(nodes);
  if (found === undefined) throw new Error("there is no node");
  return found;
};

/** From half a lease to two. */
export const while_ = ({ leaseMs }: Cluster, chance: Chance) => sleep(leaseMs * (0.5 + 1.5 * chance.next()));

/** Leases after which a node that nobody has collected is let go on. */
const COLLECTED_WITHIN_TERMS = 15;

/** Waits until other nodes have collected the process at that address: on a busy machine that takes longer. */
async function untilCollected({ postgres: { url }, leaseMs }: Cluster, address: string): Promise<void> {
  const sql = postgres(url, { max: 1, connect_timeout: 5, onnotice: () => undefined });
  try {
    for (let term = 0; term < COLLECTED_WITHIN_TERMS; term++) {
      const waiting = await sql`select from verifier where address = ${address} and collect_time is null`;
      if (waiting.length === 0) return;
      await sleep(leaseMs);
    }
  } finally {
    await sql.end({ timeout: 1 });
  }
}

type Link = keyof Node["links"];

function cut(link: Link, how: "hang" | "refuse" | "reset" | "halfClose" | "latency"): Nemesis {
  return {
    name: `${link}: ${how}`,
    async strike(cluster, chance) {
      const proxy = node(cluster, chance).links[link];
      if (how === "latency") proxy.latency(20 + chance.below(150));
      else await proxy[how]();
      if (how === "refuse") proxy.reset();
      await while_(cluster, chance);
      await proxy.resume();
      // What was held for long is of no use to either side.
      if (how === "hang" || how === "halfClose") proxy.reset();
    },
  };
}

/** Breaks nodes and their links. */
export const NODE_NEMESES: readonly Nemesis[] = [
  {
    name: "node: SIGSTOP",
    async strike(cluster, chance) {
      const { server } = node(cluster, chance);
      await server.kill("SIGSTOP");
      await while_(cluster, chance);
      await server.kill("SIGCONT");
    },
  },
  {
    name: "node: SIGSTOP until it is collected",
    async strike(cluster, chance) {
      const { server, url } = node(cluster, chance);
      await server.kill("SIGSTOP");
      await Promise.all([sleep(cluster.leaseMs * 3), untilCollected(cluster, url)]);
      await server.kill("SIGCONT");
    },
  },
  {
    name: "node: SIGTERM",
    async strike(cluster, chance) {
      const stopped = node(cluster, chance);
      await stopped.server.stop();
      await while_(cluster, chance);
      await stopped.restart();
    },
  },
  {
    name: "node: blocked event loop",
    async strike(cluster, chance) {
      const { server } = node(cluster, chance);
      for (let i = 0; i < 8; i++) {
        await server.kill("SIGSTOP");
        await sleep(30 + chance.below(250));
        await server.kill("SIGCONT");
        await sleep(30 + chance.below(100));
      }
    },
  },
  {
    name: "node: SIGKILL",
    async strike(cluster, chance) {
      const killed = node(cluster, chance);
      await killed.server.kill("SIGKILL");
      await while_(cluster, chance);
      await killed.restart();
    },
  },
  {
    // Neither pushes nor renewals reach it, and it goes on being asked: only the end of its lease stops it. Until it is
    // collected; what it missed is lost, not held in its sockets as with SIGSTOP.
    name: "node: cut off",
    async strike(cluster, chance) {
      const links = Object.values(node(cluster, chance).links);
      for (const link of links) link.hang();
      await sleep(cluster.leaseMs * 3);
      for (const link of links) {
        await link.resume();
        link.reset();
      }
    },
  },
  ...(["leases", "reads"] as const).flatMap((link) =>
    (["hang", "refuse", "reset", "halfClose", "latency"] as const).map((how) => cut(link, how)),
  ),
];

/** Breaks the one Postgres and the one Redis. */
export const SINGLE_NEMESES: readonly Nemesis[] = [
  ...(["hang", "refuse", "latency"] as const).map((how) => cut("redis", how)),
  {
    name: "redis: restart",
    async strike(cluster, chance) {
      cluster.redis.kill("SIGKILL");
      await while_(cluster, chance);
      await cluster.redis.restart();
    },
  },
  {
    name: "redis: FLUSHALL",
    async strike(cluster, chance) {
      const redis = new Redis(cluster.redis.url);
      for (let i = 0; i < 5; i++) {
        await redis.flushall();
        await sleep(50 + chance.below(200));
      }
      redis.disconnect();
    },
  },
  {
    name: "redis: SIGSTOP",
    async strike(cluster, chance) {
      cluster.redis.kill("SIGSTOP");
      await while_(cluster, chance);
      cluster.redis.kill("SIGCONT");
    },
  },
  {
    name: "postgres: SIGKILL",
    async strike(cluster, chance) {
      cluster.postgres.kill("SIGKILL");
      await while_(cluster, chance);
      await cluster.postgres.restart();
    },
  },
  {
    name: "postgres: SIGSTOP",
    async strike(cluster, chance) {
      cluster.postgres.kill("SIGSTOP");
      await while_(cluster, chance);
      cluster.postgres.kill("SIGCONT");
    },
  },
  {
    name: "postgres: restart",
    async strike(cluster) {
      await cluster.postgres.restart({ mode: "immediate" });
      await sleep(500);
    },
  },
];
