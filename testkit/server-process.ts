import { fileURLToPath } from "node:url";
import { eventually } from "./eventually.ts";
import { endWithin, spawnGuarded } from "./guarded-process.ts";
import { type Mutation, mutate } from "./mutation.ts";
import { noteUnheard } from "./unheard.ts";

const BIN = fileURLToPath(new URL("../bin/claviger.js", import.meta.url));
const START_MS = 120_000;
const STOP_MS = 45_000;

export interface StartServerOptions {
  /** Settings beside `CLAVIGER_LISTEN`. Nothing of the test's own `CLAVIGER_…` and `…_URL` settings is handed on. */
  readonly env?: Readonly<Record<string, string>>;
  /** Arguments after `serve`. */
  readonly args?: readonly string[];
  /** The working directory, where the embedded database keeps its folder. Default: that of the test. */
  readonly cwd?: string;
  /** Changes to the source before it is loaded (the control of a guarantee). Default none. */
  readonly mutate?: readonly Mutation[];
  /** Called with its process id as soon as it exists, long before the server listens. */
  readonly onSpawn?: (pid: number) => void;
  /** Called with all that the server has written to its standard error, after each further write. */
  readonly onStderr?: (text: string) => void;
  /** Milliseconds until it must listen. Default 120,000. */
  readonly startMs?: number;
  /** Whether it may have errors that no code of it handles. Default: the test file fails if it has. */
  readonly hasDefects?: boolean;
}

export interface ServerProcess {
  /** `http://127.0.0.1:port`, or `https://…` with a certificate. */
  readonly url: string;
  readonly port: number;
  readonly pid: number;
  /** The output of the server so far. */
  stdout(): string;
  stderr(): string;
  /** SIGTERM, then the exit code; `null` if it had to be killed after 45 s or ended by a signal. Twice is fine. */
  stop(): Promise<number | null>;
  /** Signals the server. `SIGKILL` resolves once it is gone, the others at once. */
  kill(signal: NodeJS.Signals): Promise<void>;
  /** Settles when the server has ended by itself or otherwise. */
  readonly exited: Promise<{ readonly code: number | null; readonly signal: NodeJS.Signals | null }>;
}

/** Starts `claviger serve` on a free port and waits until it listens. Throws with its output when it does not. */
export async function startServer(options: StartServerOptions = {}): Promise<ServerProcess> {
  const mutated = options.mutate ? mutate(...options.mutate) : undefined;
  const server = await spawnGuarded({
    command: process.execPath,
    args: [BIN, "serve", ...(options.args ?? [])],
    spawn: {
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
      stdio: ["ignore", "pipe", "pipe"],
      env: {
        ...inheritedEnv(),
        CLAVIGER_LISTEN: "127.0.0.1:0",
        ...mutated,
        ...(options.hasDefects === true ? {} : noteUnheard(mutated?.NODE_OPTIONS)),
        ...options.env,
      },
    },
  });
  options.onSpawn?.(server.pid);
  const startMs = options.startMs ?? START_MS;
  const output = { stdout: "", stderr: "" };
  for (const name of ["stdout", "stderr"] as const) {
    server.child[name]?.setEncoding("utf8").on("data", (text: string) => {
      output[name] += text;
      if (name === "stderr") options.onStderr?.(output.stderr);
    });
  }

  const failure = (what: string) =>
    new Error(`claviger serve ${what}; its output:\n${output.stdout}\n${output.stderr}\nread why above`);
  const listening = () => {
    const [, url] = /listening on (https?:\/\/\S+:\d+)/.exec(output.stdout) ?? [];
    if (url === undefined) throw failure(`did not listen within ${startMs} ms`);
    return new URL(url);
  };
  try {
    const url = await eventually(listening, {
      withinMs: startMs,
      abandonIf: () => (server.hasExited() ? failure(`ended with code ${server.child.exitCode}`) : undefined),
    });
    return {
      url: url.origin,
      port: Number(url.port),
      pid: server.pid,
      stdout: () => output.stdout,
      stderr: () => output.stderr,
      stop: async () => {
        server.child.kill("SIGTERM");
        await endWithin(server, STOP_MS);
        return server.child.exitCode;
      },
      kill: async (signal) => {
        server.child.kill(signal);
        if (signal === "SIGKILL") await server.exited;
      },
      exited: server.exited,
    };
  } catch (error) {
    server.child.kill("SIGKILL");
    await server.exited;
    throw error;
  }
}

/** This process's environment without settings of Claviger, and without Vitest's, which change how libraries behave. */
export function inheritedEnv(): Record<string, string | undefined> {
  const foreign = /^(CLAVIGER_|VITEST|(TEST_)?(DATABASE|REDIS)_URL$|REDIS_(TLS|SENTINEL)_|NODE_OPTIONS$|NODE_ENV$)/;
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !foreign.test(name)));
}
