import { findPgBouncer } from "../../testkit/find-tools.ts";
import { startPgBouncer } from "../../testkit/pgbouncer.ts";
import { type PostgresPair, startPostgresPair } from "../../testkit/postgres-pair.ts";
import { type PostgresServer, startPostgresServer } from "../../testkit/postgres-server.ts";
import { type RedisCluster, startRedisCluster } from "../../testkit/redis-cluster.ts";
import { type RedisSentinel, startRedisSentinel } from "../../testkit/redis-sentinel.ts";
import { type RedisServer, startRedisServer } from "../../testkit/redis-server.ts";
import { createTcpProxy, type TcpProxy } from "../../testkit/tcp-proxy.ts";
import { joinLinks } from "./join-links.ts";

/** The links of one node: reads of secrets; leases and changes; Redis. */
export interface Links {
  readonly reads: TcpProxy;
  readonly leases: TcpProxy;
  readonly redis: TcpProxy;
}

/** What fails over; absent where there is one Postgres and one Redis. */
export interface Standbys {
  readonly pair: PostgresPair;
  /** Ends PgBouncer as a crash does, and starts it again. */
  restartPooler(): Promise<void>;
  /** Leads PgBouncer to the server that is the primary now. */
  followPrimary(): void;
  readonly redis: RedisSentinel | RedisCluster;
}

/** The servers that nodes work with, and how a node reaches them. */
export interface Places {
  readonly postgres: PostgresServer;
  readonly redis: RedisServer;
  readonly standbys: Standbys | undefined;
  /** Links of a node's own, and the settings that lead over them. */
  link(): Promise<{ readonly links: Links; readonly env: Readonly<Record<string, string>> }>;
  stop(): Promise<void>;
}

const databaseAt = (...ports: readonly number[]) =>
  `postgres://postgres@${ports.map((port) => `127.0.0.1:${port}`).join(",")}/postgres`;

/** One Postgres and one Redis. */
export async function startSingles(): Promise<Places> {
  const [postgres, redis] = await Promise.all([startPostgresServer(), startRedisServer()]);
  return {
    ...{ postgres, redis, standbys: undefined },
    link: async () => {
      const to = (port: number) => createTcpProxy({ port });
      const links = { reads: await to(postgres.port), leases: await to(postgres.port), redis: await to(redis.port) };
      return {
        links,
        env: {
          DATABASE_URL: databaseAt(links.reads.port),
          CLAVIGER_LEASE_DATABASE_URL: databaseAt(links.leases.port),
          REDIS_URL: `redis://127.0.0.1:${links.redis.port}`,
        },
      };
    },
    stop: async () => void (await Promise.all([postgres.stop({ mode: "immediate" }), redis.stop()])),
  };
}

/**
 * A primary with a synchronous standby, which leases reach by both addresses and reads by a PgBouncer; and a Redis with
 * Sentinels, or a Redis Cluster.
 */
export async function startStandbys(kind: "sentinel" | "cluster"): Promise<Places> {
  const command = findPgBouncer();
  if (command === undefined) throw new Error("there is no pgbouncer here; apt-get install pgbouncer");
  const stops: (() => Promise<unknown>)[] = [];
  const stop = async () => {
    for (const each of stops.reverse()) await each();
    stops.length = 0;
  };
  try {
    const pair = await startPostgresPair();
    stops.push(() => pair.stop());
    const redis = await (kind === "sentinel" ? startRedisSentinel() : startRedisCluster());
    stops.push(() => redis.stop());
    const primary = await createTcpProxy({ port: pair.primary.port });
    stops.push(() => primary.close());
    // Its pause after a failed connection is 15 s by itself.
    const settings = { server_login_retry: "1", query_wait_timeout: "5", default_pool_size: "10" };
    const pooler = await startPgBouncer({ command, databaseUrl: databaseAt(primary.port), settings });
    stops.push(() => pooler.stop());
    const first = "servers" in redis ? redis.servers[0] : redis.nodes[0];
    if (first === undefined) throw new Error("there is no Redis");
    return {
      get postgres() {
        return pair.primary;
      },
      redis: first,
      standbys: {
        ...{ pair, redis, restartPooler: () => pooler.restart() },
        followPrimary: () => {
          primary.lead(pair.primary.port);
          primary.reset();
        },
      },
      link: async () => {
        const reads = await createTcpProxy({ port: Number(new URL(pooler.url).port) });
        const both = await Promise.all(pair.ports.map((port) => createTcpProxy({ port })));
        const ports = both.map(({ port }) => port);
        return {
          // Sentinels and clusters name their servers themselves, past any proxy.
          links: { reads, leases: joinLinks(both), redis: joinLinks([]) },
          env: {
            DATABASE_URL: databaseAt(reads.port),
            CLAVIGER_LEASE_DATABASE_URL: `${databaseAt(...ports)}?target_session_attrs=read-write`,
            REDIS_URL: redis.url,
          },
        };
      },
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}
