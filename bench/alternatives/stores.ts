import { Redis } from "ioredis";
import pg from "pg";
import { cpuSeconds } from "../harness/processes.ts";

type Env = Readonly<Record<string, string>>;

/** The Postgres and the Redis that all contestants share. */
export interface SharedStores {
  readonly versions: Readonly<Record<string, string>>;
  /** The environment of a contestant: a database of its own. */
  envFor(contestant: string): Promise<Env>;
  /** Seconds of CPU that each has used so far; of Postgres, in the backends that live now. */
  cpu(): Promise<{ readonly postgres: number; readonly redis: number }>;
  close(): Promise<void>;
}

export async function openStores({ DATABASE_URL = "", REDIS_URL = "" }: Env): Promise<SharedStores> {
  const database = new pg.Client({ connectionString: DATABASE_URL });
  await database.connect();
  const redis = new Redis(REDIS_URL);
  const setting = async (name: string): Promise<string> =>
    (await database.query("select current_setting($1) as value", [name])).rows[0]?.value;
  const about = async (section: string, name: string) =>
    new RegExp(`^${name}:(\\S+)`, "m").exec(await redis.info(section))?.[1] ?? "";
  const made = new Set<string>();
  return {
    versions: {
      postgres: await setting("server_version"),
      redis: await about("server", "redis_version"),
      ...{ fsync: await setting("fsync"), synchronousCommit: await setting("synchronous_commit") },
      appendonly: (await about("persistence", "aof_enabled")) === "1" ? "yes" : "no",
    },
    async envFor(contestant) {
      const name = `bench_${contestant.replaceAll("-", "_")}`;
      if (!made.has(name)) await database.query(`create database ${name}`);
      made.add(name);
      const url = new URL(DATABASE_URL);
      url.pathname = name;
      return { DATABASE_URL: url.href, REDIS_URL };
    },
    async cpu() {
      const { rows } = await database.query("select pid from pg_stat_activity where pid <> pg_backend_pid()");
      const postgres = rows.reduce((sum: number, { pid }) => sum + secondsOf(pid), 0);
      const [user, system] = [await about("cpu", "used_cpu_user"), await about("cpu", "used_cpu_sys")];
      return { postgres, redis: Number(user) + Number(system) };
    },
    async close() {
      await Promise.all([database.end(), redis.quit()]);
    },
  };
}

function secondsOf(pid: number): number {
  try {
    return cpuSeconds(pid);
  } catch {
    return 0;
  }
}
