import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect as connectTls } from "node:tls";
import type { TestCertificates } from "./certificates.ts";
import { eventually } from "./eventually.ts";
import { freePort } from "./free-port.ts";
import { endWithin, type GuardedProcess, spawnGuarded } from "./guarded-process.ts";

const STOP_MS = 15_000;

export interface RedisServerOptions {
  /** Further settings, such as `{ appendonly: "yes" }`. Default: nothing is kept on disk. */
  readonly settings?: Readonly<Record<string, string>>;
  /** Speaks TLS instead of cleartext, to clients, replicas and other nodes. Clients need no certificate by default. */
  readonly tls?: TestCertificates | undefined;
  /** Makes the server a sentinel: the lines of its configuration. It changes its file, and keeps it over a restart. */
  readonly sentinel?: readonly string[];
}

export interface RedisServer {
  /** `redis://127.0.0.1:port`, or `rediss://…`, without a password. */
  readonly url: string;
  readonly port: number;
  pid(): number;
  kill(signal: NodeJS.Signals): void;
  /** Ends the server with SIGTERM and starts it on the same port and folder. */
  restart(): Promise<void>;
  /** Ends the server and removes its folder. Twice is fine. */
  stop(): Promise<void>;
}

/** A Redis of the caller's own on a free port of 127.0.0.1. It ends with this process. Throws without `redis-server`. */
export async function startRedisServer(options: RedisServerOptions = {}): Promise<RedisServer> {
  const folder = mkdtempSync(join(tmpdir(), "claviger-redis-"));
  const port = await freePort();
  const { tls } = options;
  const url = `${tls ? "rediss" : "redis"}://127.0.0.1:${port}`;
  const settings = {
    bind: "127.0.0.1",
    ...(tls ? tlsSettings(port, tls) : { port: String(port) }),
    dir: folder,
    save: "",
    appendonly: "no",
    ...options.settings,
  };
  const args = options.sentinel
    ? [sentinelFile(folder, settings, options.sentinel), "--sentinel"]
    : Object.entries(settings).flatMap(([name, value]) => [`--${name}`, value]);
  let running: GuardedProcess | undefined;

  async function start(): Promise<void> {
    const server = await spawnGuarded({ command: "redis-server", args, folder });
    running = server;
    await eventually(() => pingRedis(url, tls), {
      abandonIf: () =>
        server.hasExited() ? new Error("redis-server ended at once; run it by hand to see why") : undefined,
    });
  }

  async function end(): Promise<void> {
    if (!running) return;
    running.child.kill("SIGCONT");
    running.child.kill("SIGTERM");
    await endWithin(running, STOP_MS);
    running = undefined;
  }

  const stop = async () => {
    await end();
    rmSync(folder, { recursive: true, force: true, maxRetries: 10 });
  };
  try {
    await start();
  } catch (error) {
    await stop();
    throw error;
  }

  const live = (): GuardedProcess => {
    if (!running) throw new Error("this Redis is stopped; start another one");
    return running;
  };
  return {
    url,
    port,
    pid: () => live().pid,
    kill: (signal) => void live().child.kill(signal),
    restart: async () => {
      await end();
      await start();
    },
    stop,
  };
}

function tlsSettings(port: number, { caFile, certFile, keyFile }: TestCertificates) {
  return {
    ...{ port: "0", "tls-port": String(port) },
    ...{ "tls-ca-cert-file": caFile, "tls-cert-file": certFile, "tls-key-file": keyFile, "tls-auth-clients": "no" },
    ...{ "tls-replication": "yes", "tls-cluster": "yes" },
  };
}

function sentinelFile(folder: string, settings: Readonly<Record<string, string>>, lines: readonly string[]): string {
  const path = join(folder, "sentinel.conf");
  const { save: _, appendonly: __, ...kept } = settings;
  const text = [...Object.entries(kept).map(([name, value]) => `${name} ${value}`), ...lines].join("\n");
  writeFileSync(path, `${text}\n`);
  return path;
}

/** The CA for a client, and a certificate for a server that requires one. */
export function clientTls({ ca, certFile, keyFile }: TestCertificates) {
  return { ca, cert: readFileSync(certFile), key: readFileSync(keyFile) };
}

/** Throws unless a Redis answers at `url`; one that asks for a password first counts as answering. */
export async function pingRedis(url: string, tls?: TestCertificates): Promise<void> {
  const { hostname, port } = new URL(url);
  const address = { host: hostname, port: Number(port || 6379), timeout: 2_000 };
  const reply = await new Promise<string>((resolve, reject) => {
    const ping = () => void socket.write("PING\r\n");
    const socket = tls ? connectTls({ ...address, ...clientTls(tls) }, ping) : connect(address, ping);
    socket.once("data", (bytes) => resolve(bytes.toString()));
    socket.on("error", reject);
    socket.once("timeout", () => reject(new Error(`no answer from ${hostname}:${port}; is it a Redis?`)));
    socket.once("close", () => reject(new Error(`${hostname}:${port} hung up; is it a Redis?`)));
    socket.once("data", () => socket.destroy());
  });
  if (!/^(\+PONG|-NOAUTH)/.test(reply)) throw new Error(`${hostname}:${port} is no Redis; set TEST_REDIS_URL`);
}
