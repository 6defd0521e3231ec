import { bootstrapAdmin } from "../../src/server/bootstrap.ts";
import { loadConfig } from "../../src/server/config/config.ts";
import { type Clients, connect } from "../../testkit/connect.ts";
import { freePort } from "../../testkit/free-port.ts";
import type { Mutation } from "../../testkit/mutation.ts";
import type { PostgresServer } from "../../testkit/postgres-server.ts";
import type { RedisServer } from "../../testkit/redis-server.ts";
import { type ServerProcess, startServer } from "../../testkit/server-process.ts";
import { type Links, type Standbys, startSingles, startStandbys } from "./places.ts";

const ROOT_SECRET = Buffer.alloc(32).toString("base64");

export interface ClusterOptions {
  readonly nodes: number;
  readonly leaseMs: number;
  readonly onDatabaseLoss: "deny" | "revocation-set";
  /** Whether Postgres and Redis have standbys, which take over; and of which kind Redis is then. Default: no. */
  readonly standbys?: "sentinel" | "cluster" | undefined;
  /** Further settings of every node. */
  readonly env?: Readonly<Record<string, string>>;
  /** Changes to the source of every node: the control of a guarantee. */
  readonly mutate?: readonly Mutation[];
}

/** One `claviger serve`, each of its links through a proxy of its own. */
export interface Node {
  readonly index: number;
  readonly clients: Clients;
  readonly url: string;
  readonly links: Links;
  server: ServerProcess;
  /** Narrowing calls that clients have under way on it. */
  revoking: number;
  restart(): Promise<void>;
}

export interface Cluster {
  /** The one Postgres, or the primary of now. */
  readonly postgres: PostgresServer;
  readonly redis: RedisServer;
  readonly standbys: Standbys | undefined;
  readonly nodes: Node[];
  readonly leaseMs: number;
  readonly token: string;
  join(): Promise<Node>;
  stop(): Promise<void>;
}

/** A cluster of the caller's own: real servers, real links. */
export async function startCluster(options: ClusterOptions): Promise<Cluster> {
  const places = await (options.standbys === undefined ? startSingles() : startStandbys(options.standbys));
  const common = { CLAVIGER_ROOT_SECRETS: ROOT_SECRET, CLAVIGER_LOG_LEVEL: "silent" };
  const admin = await bootstrapAdmin(await loadConfig({ ...common, DATABASE_URL: places.postgres.url }));
  const token = admin.secret.reveal();
  const nodes: Node[] = [];

  async function join(): Promise<Node> {
    const [{ links, env }, port] = await Promise.all([places.link(), freePort()]);
    const start = () =>
      startServer({
        args: ["--listen", `127.0.0.1:${port}`],
        env: {
          ...common,
          ...env,
          CLAVIGER_LEASE_MS: String(options.leaseMs),
          CLAVIGER_ON_DATABASE_LOSS: options.onDatabaseLoss,
          ...options.env,
        },
        ...(options.mutate === undefined ? {} : { mutate: options.mutate }),
      });
    const url = `http://127.0.0.1:${port}`;
    const node: Node = {
      index: nodes.length,
      url,
      clients: connect(url, token),
      links,
      server: await start(),
      revoking: 0,
      restart: async () => {
        node.server = await start();
      },
    };
    nodes.push(node);
    return node;
  }

  const stop = async () => {
    await Promise.all(nodes.map(({ server }) => server.kill("SIGCONT")));
    await Promise.all(nodes.map(({ server }) => server.kill("SIGKILL")));
    await Promise.all(nodes.flatMap(({ links }) => Object.values(links).map((link) => link.close())));
    await places.stop();
  };
  try {
    for (let index = 0; index < options.nodes; index++) await join();
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    get postgres() {
      return places.postgres;
    },
    ...{ redis: places.redis, standbys: places.standbys, nodes, leaseMs: options.leaseMs, token, join, stop },
  };
}
