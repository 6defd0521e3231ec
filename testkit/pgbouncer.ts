import { chownSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";
import { eventually } from "./eventually.ts";
import { freePort } from "./free-port.ts";
import { endWithin, spawnGuarded } from "./guarded-process.ts";
import { unprivilegedUser } from "./postgres-binaries.ts";
import { ping } from "./postgres-server.ts";

const START_MS = 60_000;

export interface PgBouncer {
  /** The same database through the pooler. */
  readonly url: string;
  /** Runs a command of its console, such as `PAUSE`. */
  administer(command: string): Promise<void>;
  /** Ends it as a crash does, and starts it again on the same port. */
  restart(): Promise<void>;
  stop(): Promise<void>;
}

/** A PgBouncer in transaction mode on a free port, as it comes, in front of the Postgres at `databaseUrl`. */
export async function startPgBouncer(options: {
  readonly command: string;
  readonly databaseUrl: string;
  /** Further settings of `pgbouncer.ini`. */
  readonly settings?: Readonly<Record<string, string>>;
}): Promise<PgBouncer> {
  const behind = new URL(options.databaseUrl);
  const database = behind.pathname.slice(1);
  const port = await freePort();
  const folder = mkdtempSync(join(tmpdir(), "claviger-pgbouncer-"));
  const file = (name: string) => join(folder, name);
  const settings = {
    ...{ listen_addr: "127.0.0.1", listen_port: String(port), unix_socket_dir: "", logfile: file("log") },
    ...{ auth_type: "trust", auth_file: file("users"), pool_mode: "transaction", default_pool_size: "3" },
    ignore_startup_parameters: "extra_float_digits",
    admin_users: behind.username,
    ...options.settings,
  };
  const lines = Object.entries(settings).map(([name, value]) => `${name} = ${value}`);
  writeFileSync(file("users"), `"${behind.username}" ""\n`);
  writeFileSync(
    file("ini"),
    `[databases]\n${database} = host=${behind.hostname} port=${behind.port}\n[pgbouncer]\n${lines.join("\n")}\n`,
  );
  const user = unprivilegedUser();
  if (user) for (const path of [folder, file("users"), file("ini")]) chownSync(path, user.uid, user.gid);
  const url = new URL(behind);
  url.port = String(port);
  const start = async () => {
    const started = await spawnGuarded({ command: options.command, args: [file("ini")], spawn: { ...user }, folder });
    await eventually(() => ping(url.href), {
      withinMs: START_MS,
      abandonIf: () => (started.hasExited() ? new Error("pgbouncer ended while it was starting") : undefined),
    });
    return started;
  };
  let running = await start();
  return {
    url: url.href,
    administer: async (command) => {
      const console = new URL(url);
      console.pathname = "/pgbouncer";
      const client = new pg.Client({ connectionString: console.href });
      await client.connect();
      await client.query(command).finally(() => client.end());
    },
    restart: async () => {
      running.child.kill("SIGKILL");
      await running.exited;
      running = await start();
    },
    stop: async () => {
      running.child.kill("SIGTERM");
      await endWithin(running, 5000);
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
