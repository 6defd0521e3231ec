import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { eventually } from "./eventually.ts";
import { freePort } from "./free-port.ts";
import { endWithin, spawnGuarded } from "./guarded-process.ts";
import { REPOSITORY } from "./repository-copy.ts";

export type GatewayName = "envoy" | "nginx" | "haproxy" | "caddy";

/** Where a gateway finds what the example files name by their standard ports. */
export interface GatewayPlaces {
  /** In place of 4640. */
  readonly claviger: number;
  /** In place of 4641. */
  readonly authz: number;
  /** In place of 8080. */
  readonly service: number;
  /** In place of 9090. */
  readonly grpcService: number;
}

export interface GatewayOptions {
  readonly command: string;
  readonly gateway: GatewayName;
  readonly places: GatewayPlaces;
  /** Default: the example with the gateway's standard name. */
  readonly file?: string;
  /** Changes the configuration before the start. Default: nothing. */
  readonly change?: (text: string) => string;
}

export interface Gateway {
  readonly url: string;
  stop(): Promise<void>;
}

const FILES = { envoy: "envoy.yaml", nginx: "nginx.conf", haproxy: "haproxy.cfg", caddy: "Caddyfile" };

// Workers of root's nginx belong to a user that cannot read the folder.
const NGINX_USER = process.getuid?.() === 0 ? "user root;" : "";

/** Keeps nginx from the system's folders. */
const NGINX_FOLDERS =
  "access_log off; client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; " +
  "uwsgi_temp_path uwsgi; scgi_temp_path scgi;";

/** The arguments by which each is run in the foreground, in a folder of its own. */
const ARGS: Readonly<Record<GatewayName, (folder: string, file: string) => readonly string[]>> = {
  envoy: (_, file) => ["-c", file, "--use-dynamic-base-id", "--concurrency", "1", "-l", "error"],
  nginx: (folder, file) => ["-p", folder, "-c", file, "-e", "stderr", "-g", `daemon off; pid nginx.pid; ${NGINX_USER}`],
  haproxy: (_, file) => ["-db", "-q", "-f", file],
  caddy: (_, file) => ["run", "--config", file, "--adapter", "caddyfile"],
};

/** Starts a gateway with a file of `examples/gateways/`, its ports replaced, and waits until it listens. */
export async function startGateway(options: GatewayOptions): Promise<Gateway> {
  const { command, gateway, places } = options;
  const folder = mkdtempSync(join(tmpdir(), `claviger-${gateway}-`));
  const port = await freePort();
  const ports: Readonly<Record<string, number>> = {
    4640: places.claviger,
    4641: places.authz,
    8080: places.service,
    9090: places.grpcService,
    8000: port,
  };
  const example = (name: string) => join(REPOSITORY, "examples/gateways", name);
  const withPorts = (text: string) =>
    text.replaceAll(/(127\.0\.0\.1:|port_value: )(\d+)/g, (all, before, named) => {
      const own = ports[named];
      return own === undefined ? all : `${before}${own}`;
    });
  const changed = (text: string) => {
    const own = (options.change ?? ((same) => same))(withLongWaits(withPorts(text)));
    return gateway === "nginx" ? own.replace("http {", `http { ${NGINX_FOLDERS}`) : own;
  };
  const name = options.file ?? FILES[gateway];
  const file = join(folder, name);
  writeFileSync(file, changed(readFileSync(example(name), "utf8")));
  if (gateway === "haproxy") {
    writeFileSync(
      join(folder, "claviger.lua"),
      withLongWaits(withPorts(readFileSync(example("claviger.lua"), "utf8"))),
    );
  }
  const env = { PATH: process.env.PATH, HOME: folder, XDG_CONFIG_HOME: folder, XDG_DATA_HOME: folder };
  const running = await spawnGuarded({
    command,
    args: ARGS[gateway](folder, file),
    spawn: { cwd: folder, env, stdio: ["ignore", "pipe", "pipe"] },
    folder,
  });
  let output = "";
  for (const stream of [running.child.stdout, running.child.stderr]) {
    stream?.setEncoding("utf8").on("data", (text: string) => {
      output += text;
    });
  }
  const stop = async () => {
    running.child.kill("SIGTERM");
    await endWithin(running, 5000);
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    await eventually(() => listens(port), {
      abandonIf: () => (running.hasExited() ? new Error(`${gateway} ended at its start:\n${output}`) : undefined),
    });
  } catch (error) {
    await stop();
    throw error;
  }
  return { url: `http://127.0.0.1:${port}`, stop };
}

/** A busy machine may take longer than the 250 ms of the examples. */
function withLongWaits(text: string): string {
  return text
    .replaceAll(/\b0\.25s/g, "1.5s")
    .replaceAll(/\b250ms/g, "1500ms")
    .replace("TIMEOUT_MS = 250", "TIMEOUT_MS = 1500");
}

function listens(port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, "127.0.0.1", () => {
      socket.destroy();
      resolve();
    });
    socket.on("error", reject);
  });
}
