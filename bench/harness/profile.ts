import { existsSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { rounded } from "./bench.ts";
import { type BenchServer, cpuSeconds } from "./processes.ts";

const LOOK_MS = 50;
const LONGEST_MS = 30_000;
/** Microseconds; what is less is with the rest. */
const LEAST = 0.1;

/** For the environment of a server of which there can be a profile. It costs nothing until one is taken. */
export const PROFILED = { NODE_OPTIONS: `--import=${new URL("./profiler.ts", import.meta.url)}` };

interface CpuProfile {
  readonly nodes: readonly {
    readonly id: number;
    readonly callFrame: { readonly functionName: string; readonly url: string };
  }[];
  readonly samples: readonly number[];
  /** Microseconds. */
  readonly timeDeltas: readonly number[];
}

/** Where a server's profile is left. */
export function fileOf(pid: number): string {
  return join(tmpdir(), `claviger-bench-${pid}.cpuprofile`);
}

/**
 * Microseconds of CPU for each of `calls` that `ask` makes, by whose code it is: a room of `src/`, a package, Node, the
 * collector. Shared out as the main thread's time is, which on a busy machine is more than its CPU. Once for each server.
 */
export async function profile({ pid }: BenchServer, calls: number, ask: () => Promise<unknown>) {
  const before = cpuSeconds(pid);
  process.kill(pid, "SIGUSR2");
  await ask();
  process.kill(pid, "SIGUSR2");
  const cpuMicroseconds = ((cpuSeconds(pid) - before) / calls) * 1e6;
  const file = fileOf(pid);
  for (let waited = 0; !existsSync(file); waited += LOOK_MS) {
    if (waited > LONGEST_MS) throw new Error("the server leaves no profile");
    await sleep(LOOK_MS);
  }
  const taken: CpuProfile = JSON.parse(readFileSync(file, "utf8"));
  rmSync(file);
  return byPart(taken, cpuMicroseconds);
}

function byPart({ nodes, samples, timeDeltas }: CpuProfile, cpuMicroseconds: number): Record<string, number> {
  const parts = new Map(nodes.map(({ id, callFrame }) => [id, partOf(callFrame)]));
  const times = new Map<string, number>();
  let busy = 0;
  for (const [at, node] of samples.entries()) {
    const part = parts.get(node);
    const time = timeDeltas[at] ?? 0;
    if (part === undefined) continue;
    times.set(part, (times.get(part) ?? 0) + time);
    busy += time;
  }
  const all = [...times].map(([part, time]) => [part, (time / busy) * cpuMicroseconds] as const);
  const shown = all.filter(([, each]) => each >= LEAST).sort(([, a], [, b]) => b - a);
  const rest = all.filter(([, each]) => each < LEAST).reduce((sum, [, each]) => sum + each, 0);
  return Object.fromEntries([...shown, ["rest", rest] as const].map(([part, each]) => [part, rounded(each, 1)]));
}

/** Undefined while nothing is done. */
function partOf({ functionName, url }: CpuProfile["nodes"][number]["callFrame"]): string | undefined {
  if (functionName === "(idle)" || functionName === "(root)") return undefined;
  if (functionName === "(garbage collector)") return "collector";
  if (functionName === "(program)" || url === "") return "native";
  if (url.startsWith("node:")) return "node";
  const [, name] = /node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(url) ?? [];
  const [, room] = /\/(src\/[^/]+)\//.exec(url) ?? [];
  return name ?? room ?? "bench";
}
