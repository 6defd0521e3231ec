import { setTimeout as sleep } from "node:timers/promises";
import type { Chance } from "../../testkit/chance.ts";
import type { RedisServer } from "../../testkit/redis-server.ts";
import { type Nemesis, while_ } from "./nemeses.ts";
import type { Standbys } from "./places.ts";

/** Breaks what fails over. Only a primary that is fenced is replaced, as the documentation asks. */
export function failoverNemeses(standbys: Standbys): readonly Nemesis[] {
  const { pair } = standbys;
  const switchOver = async () => {
    await pair.promote();
    standbys.followPrimary();
  };
  return [
    {
      name: "postgres: SIGKILL of the primary, failover",
      async strike(cluster, chance) {
        await pair.killPrimary();
        await sleep(chance.below(cluster.leaseMs));
        await switchOver();
        await while_(cluster, chance);
        await pair.rejoin();
      },
    },
    {
      name: "postgres: SIGSTOP of the primary, failover",
      async strike(cluster, chance) {
        pair.primary.kill("SIGSTOP");
        await while_(cluster, chance);
        await pair.killPrimary();
        await switchOver();
        await while_(cluster, chance);
        await pair.rejoin();
      },
    },
    {
      name: "postgres: SIGSTOP of the primary",
      async strike(cluster, chance) {
        const { primary } = pair;
        primary.kill("SIGSTOP");
        await while_(cluster, chance);
        primary.kill("SIGCONT");
      },
    },
    {
      // Commits wait for it, so that nothing is acknowledged meanwhile.
      name: "postgres: SIGSTOP of the standby",
      async strike(cluster, chance) {
        pair.standby?.kill("SIGSTOP");
        await while_(cluster, chance);
        pair.standby?.kill("SIGCONT");
        await pair.caughtUp();
      },
    },
    {
      name: "pgbouncer: SIGKILL, restart",
      async strike(cluster, chance) {
        for (let i = 0; i < 3; i++) {
          await standbys.restartPooler();
          await sleep(chance.below(cluster.leaseMs));
        }
      },
    },
    ...redisNemeses(standbys.redis),
  ];
}

function redisNemeses(redis: Standbys["redis"]): readonly Nemesis[] {
  const master = (chance: Chance): Promise<{ server: RedisServer; leaves(): Promise<unknown> }> => {
    if ("sentinels" in redis) {
      return redis.master().then((server) => ({ server, leaves: () => redis.masterLeaves(server) }));
    }
    const key = String(chance.below(1_000_000));
    return redis.ownerOf(key).then((server) => ({ server, leaves: () => redis.ownerLeaves(key, server) }));
  };
  const common: readonly Nemesis[] = [
    {
      name: "redis: SIGKILL of a master, failover",
      async strike(cluster, chance) {
        const { server, leaves } = await master(chance);
        server.kill("SIGKILL");
        await leaves();
        await while_(cluster, chance);
        await server.restart();
      },
    },
    {
      name: "redis: a master hangs, failover",
      async strike(cluster, chance) {
        const { server, leaves } = await master(chance);
        server.kill("SIGSTOP");
        await leaves();
        await while_(cluster, chance);
        server.kill("SIGCONT");
      },
    },
  ];
  if ("sentinels" in redis) {
    return [...common, { name: "redis: planned failover", strike: () => redis.failOver() }];
  }
  return [
    ...common,
    {
      name: "redis: reshard",
      async strike(_cluster, chance) {
        const from = await redis.ownerOf(String(chance.below(1_000_000)));
        const others = new Set<RedisServer>();
        for (let i = 0; i < 30; i++) others.add(await redis.ownerOf(String(chance.below(1_000_000))));
        others.delete(from);
        const to = chance.pick([...others]);
        if (to !== undefined) await redis.reshard(from, to, 200);
      },
    },
  ];
}
