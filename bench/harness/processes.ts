import { type ChildProcess, spawn } from "node:child_process";
import { openSync, readFileSync } from "node:fs";
import { connect } from "node:net";
import { createInterface } from "node:readline";
import { eventually } from "../../testkit/eventually.ts";

/** A server in a process of its own. */
export interface BenchServer {
  readonly url: string;
  readonly pid: number;
  stop(): Promise<void>;
}

/** Starts `node script …args` and waits for a line with its address. Its log goes where a log costs what it costs: into a file. */
export function startProcess(
  script: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<BenchServer> {
  return startCommand(process.execPath, [script, ...args], env);
}

/** The same for any command. With `url`, it says nothing and listens there. */
export async function startCommand(
  command: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
  url?: string,
): Promise<BenchServer> {
  const log = openSync("/dev/null", "w");
  const child = spawn(command, args, { stdio: ["ignore", "pipe", log], env: { ...process.env, ...env } });
  const failed = Promise.withResolvers<never>();
  child.once("error", failed.reject);
  // A bench that fails leaves nothing running.
  process.once("exit", () => child.kill("SIGKILL"));
  const address = await Promise.race([url === undefined ? addressOf(child) : listening(url), failed.promise]);
  return { url: address, pid: child.pid ?? 0, stop: () => end(child) };
}

/** Seconds of CPU that a process has used, and those that it started. */
export function cpuSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [];
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

/** Megabytes of memory that a process has now. */
export function residentMegabytes(pid: number): number {
  const [, kilobytes] = /^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8")) ?? [];
  return Number(kilobytes) / 1024;
}

async function listening(url: string): Promise<string> {
  const { hostname: host, port } = new URL(url);
  await eventually(
    () =>
      new Promise<true | undefined>((resolve) => {
        const socket = connect({ host, port: Number(port) })
          .once("connect", () => resolve(true))
          .once("error", () => resolve(undefined));
        socket.once("connect", () => socket.destroy());
      }),
    { withinMs: 10_000 },
  );
  return url;
}

async function addressOf(child: ChildProcess): Promise<string> {
  if (child.stdout === null) throw new Error("the server has no output");
  for await (const line of createInterface({ input: child.stdout })) {
    const [url] = /http:\/\/\S+:\d+/.exec(line) ?? [];
    if (/listening on/.test(line) && url !== undefined) {
      child.stdout.resume();
      return url;
    }
  }
  throw new Error("the server ended before it listened");
}

function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null) return Promise.resolve();
  child.kill("SIGTERM");
  return new Promise((resolve) => child.once("exit", () => resolve()));
}
