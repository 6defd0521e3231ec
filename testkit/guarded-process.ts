import { type ChildProcess, type SpawnOptions, spawn } from "node:child_process";
import { once } from "node:events";

// The watchdog reads a pipe that only the test process holds: however that process dies, SIGKILL included, the pipe
// ends, and the watchdog ends the server ($1, with signal $2), within 5 s all that it started, and its folder ($3).
// With `-s`: dash, which is `sh` on Debian, refuses `kill -KILL -- -1`.
const WATCHDOG = `cat >/dev/null
kill -"$2" "$1" 2>/dev/null
i=0; while kill -0 "$1" 2>/dev/null && [ $i -lt 50 ]; do sleep 0.1; i=$((i+1)); done
kill -s KILL -- "-$1" 2>/dev/null
[ -z "$3" ] || rm -rf -- "$3"`;

export interface GuardedProcessOptions {
  readonly command: string;
  readonly args: readonly string[];
  /** As for `spawn`. Default of `stdio`: everything ignored. */
  readonly spawn?: Pick<SpawnOptions, "cwd" | "env" | "stdio" | "uid" | "gid">;
  /** The signal that ends the process when the test process is gone. Default `TERM`. */
  readonly endSignal?: "TERM" | "QUIT" | "INT";
  /** A temporary folder to remove when the test process is gone. Default none. */
  readonly folder?: string;
}

export interface GuardedProcess {
  readonly child: ChildProcess;
  readonly pid: number;
  /** Settles once the process has ended and its output is complete; `code` is `null` after a signal. Never rejects. */
  readonly exited: Promise<{ readonly code: number | null; readonly signal: NodeJS.Signals | null }>;
  hasExited(): boolean;
}

/** Starts a process that cannot outlive this one. Throws when it could not be started at all. */
export async function spawnGuarded(options: GuardedProcessOptions): Promise<GuardedProcess> {
  const child = spawn(options.command, options.args, {
    stdio: "ignore",
    ...options.spawn,
    // A process group of its own, so that its children (npm starts sh, and sh the server) can be ended with it.
    detached: true,
  });
  const closed = once(child, "close");
  closed.catch(() => undefined);
  await once(child, "spawn");
  const pid = child.pid;
  if (pid === undefined) throw new Error(`${options.command} has no pid; try again`);

  const watchdog = spawn(
    "sh",
    ["-c", WATCHDOG, "watchdog", String(pid), options.endSignal ?? "TERM", options.folder ?? ""],
    {
      stdio: ["pipe", "ignore", "ignore"],
      // A session of its own: Ctrl-C in the terminal must not take the watchdog first.
      detached: true,
    },
  );
  watchdog.on("error", () => child.kill("SIGKILL"));
  watchdog.unref();
  const exited = closed.then(() => {
    watchdog.kill("SIGKILL");
    return { code: child.exitCode, signal: child.signalCode };
  });
  return { child, pid, exited, hasExited: () => child.exitCode !== null || child.signalCode !== null };
}

/** Waits for the end of `guarded` at most `ms` milliseconds, then ends it and all that it started with SIGKILL. */
export async function endWithin(guarded: GuardedProcess, ms: number): Promise<void> {
  const timer = setTimeout(() => killGroup(guarded.pid), ms);
  await guarded.exited;
  clearTimeout(timer);
}

function killGroup(pid: number): void {
  try {
    process.kill(-pid, "SIGKILL");
  } catch {
    // The group is empty.
  }
}
