import { chownSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { eventually } from "./eventually.ts";
import { freePort } from "./free-port.ts";
import { endWithin, spawnGuarded } from "./guarded-process.ts";
import { unprivilegedUser } from "./postgres-binaries.ts";
import { ping } from "./postgres-server.ts";

const START_MS = 60_000;

export interface PgBouncer {
  /** The same database through the pooler. */
  readonly url: string;
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
  const running = await spawnGuarded({ command: options.command, args: [file("ini")], spawn: { ...user }, folder });
  const url = new URL(behind);
  url.port = String(port);
  await eventually(() => ping(url.href), {
    withinMs: START_MS,
    abandonIf: () => (running.hasExited() ? new Error("pgbouncer ended while it was starting") : undefined),
  });
  return {
    url: url.href,
    stop: async () => {
      running.child.kill("SIGTERM");
      await endWithin(running, 5000);
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
