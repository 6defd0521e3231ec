import postgres from "postgres";
import { eventually } from "./eventually.ts";
import { freePort } from "./free-port.ts";
import { type PostgresServer, standbyName, startPostgresServer } from "./postgres-server.ts";

export interface PostgresPairOptions {
  /** Whether a commit waits until the standby has it. Default true. */
  readonly isSynchronous?: boolean;
  /** Further settings of both servers. */
  readonly settings?: Readonly<Record<string, string>>;
}

/** A primary and its streaming standby, which can change roles. Needs `pg_basebackup`. */
export interface PostgresPair {
  /** The ports of both servers; they stay the same after a change of roles. */
  readonly ports: readonly [number, number];
  /** The server that takes writes; after `killPrimary`, the one that took them last. */
  readonly primary: PostgresServer;
  /** The server that follows it; undefined between `promote` and `rejoin`. */
  readonly standby: PostgresServer | undefined;
  /** Has the standby receive nothing more, as one that lags; what the primary commits from now on, it will not have. */
  cutOffStandby(): Promise<void>;
  /** Ends the primary as a crash of its machine does (SIGKILL); resolves once its port is closed. */
  killPrimary(): Promise<void>;
  /** Makes the standby the primary, which waits for no standby until `rejoin`; returns the old primary, which is not stopped. */
  promote(): Promise<PostgresServer>;
  /** Puts a fresh standby of the current primary in place of the old primary, on its port. */
  rejoin(): Promise<void>;
  /** Resolves once the standby has everything that the primary has committed. */
  caughtUp(): Promise<void>;
  stop(): Promise<void>;
}

/** Two servers of the caller's own on 127.0.0.1, the second a copy of the first that follows it. */
export async function startPostgresPair(options: PostgresPairOptions = {}): Promise<PostgresPair> {
  const { isSynchronous = true } = options;
  const ports: [number, number] = [await freePort(), await freePort()];
  const settings = { hot_standby: "on", wal_level: "replica", wal_keep_size: "256MB", ...options.settings };
  const servers = new Set<PostgresServer>();
  const start = async (place: { readonly port: number; readonly standbyOf?: string }) => {
    const server = await startPostgresServer({ settings, ...place });
    servers.add(server);
    return server;
  };

  async function follow(leader: PostgresServer, port: number): Promise<PostgresServer> {
    const follower = await start({ port, standbyOf: leader.url });
    // After the copy, so that the standby, once promoted, waits for no other.
    if (isSynchronous) await waitFor(leader, standbyName(port));
    return follower;
  }

  let primary = await start({ port: ports[0] });
  let standby: PostgresServer | undefined;
  let lost: PostgresServer | undefined;
  const stop = async () => void (await Promise.all([...servers].map((server) => server.stop({ mode: "immediate" }))));
  try {
    standby = await follow(primary, ports[1]);
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    ports,
    get primary() {
      return primary;
    },
    get standby() {
      return standby;
    },
    async cutOffStandby() {
      if (standby === undefined) throw new Error("there is no standby; call rejoin() first");
      await administer(standby, (sql) => sql`alter system set primary_conninfo = ''`);
      await administer(standby, (sql) => sql`select pg_reload_conf()`);
      await eventually(async () => {
        const rows = await administer(primary, (sql) => sql`select from pg_stat_replication`);
        if (rows.length > 0) throw new Error("the standby still receives");
      });
    },
    async killPrimary() {
      const { url } = primary;
      primary.kill("SIGKILL");
      await eventually(async () => {
        if (await answers(url)) throw new Error("the killed primary still answers");
      });
    },
    async promote() {
      if (standby === undefined) throw new Error("there is no standby; call rejoin() first");
      await standby.promote();
      [lost, primary, standby] = [primary, standby, undefined];
      return lost;
    },
    async rejoin() {
      if (lost === undefined) throw new Error("no server was lost; call promote() first");
      const { port } = lost;
      await lost.stop({ mode: "immediate" });
      servers.delete(lost);
      lost = undefined;
      standby = await follow(primary, port);
    },
    caughtUp: () =>
      eventually(async () => {
        const [row] = await administer(
          primary,
          (sql) => sql`select bool_and(replay_lsn >= pg_current_wal_lsn()) as done from pg_stat_replication`,
        );
        if (row?.done !== true) throw new Error("the standby lags");
      }),
    stop,
  };
}

/** From now on commits wait for the standby of that name. */
async function waitFor(server: PostgresServer, name: string): Promise<void> {
  await administer(server, (sql) => sql.unsafe(`alter system set synchronous_standby_names = '${name}'`));
  await administer(server, (sql) => sql`select pg_reload_conf()`);
  await eventually(async () => {
    const [row] = await administer(server, (sql) => sql`select sync_state from pg_stat_replication`);
    if (row?.sync_state !== "sync") throw new Error("the standby is not synchronous yet");
  });
}

async function administer<T>(server: PostgresServer, run: (sql: postgres.Sql) => Promise<T>): Promise<T> {
  const sql = postgres(server.url, { max: 1, connect_timeout: 5, onnotice: () => undefined });
  try {
    return await run(sql);
  } finally {
    await sql.end({ timeout: 1 });
  }
}

function answers(url: string): Promise<boolean> {
  const sql = postgres(url, { max: 1, connect_timeout: 5, onnotice: () => undefined });
  return sql`select 1`
    .then(
      () => true,
      () => false,
    )
    .finally(() => sql.end({ timeout: 1 }));
}
