import { Readable, Writable } from "node:stream";
import { EXIT } from "../../src/cli/cli-error.ts";
import { run } from "../../src/cli/run.ts";
import type { Shell } from "../../src/cli/shell.ts";

/** The result of a command, for tests. */
export interface Outcome {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

export interface FakeShellOptions {
  /** Default none. */
  readonly environment?: Record<string, string>;
  /** The piped input. Default: nothing. */
  readonly input?: string;
  /** The piped or typed input, as a stream instead. */
  readonly stdin?: Shell["stdin"];
  /** Default undefined: standard output is no terminal. */
  readonly columns?: number;
  /** Default UTC. */
  readonly timeZone?: string;
}

/** The instant at which every fake shell lives. */
export const NOW = new Date("2026-11-22T12:00:00Z");

/** A shell that keeps what is written to it. */
export function createFakeShell(options: FakeShellOptions = {}) {
  const out: string[] = [];
  const err: string[] = [];
  const shell: Shell = {
    environment: options.environment ?? {},
    stdin: options.stdin ?? Readable.from([Buffer.from(options.input ?? "")]),
    stdout: collect(out),
    stderr: collect(err),
    columns: options.columns,
    timeZone: options.timeZone ?? "UTC",
    version: "1.2.3",
    command: "./bin/claviger.js",
    now: () => NOW,
    onStopSignal: () => {},
    onDefect: () => {},
    exit: (code) => {
      throw new Error(`the command wanted to exit with ${code}`);
    },
    exitCode: EXIT.ok,
  };
  return { shell, written: () => ({ out: out.join(""), err: err.join("") }) };
}

/** Runs a command in a shell of its own. */
export async function runInFakeShell(words: readonly string[], options: FakeShellOptions = {}): Promise<Outcome> {
  const { shell, written } = createFakeShell(options);
  const code = await run(words, shell);
  return { code, ...written() };
}

function collect(chunks: string[]): Writable {
  return new Writable({
    decodeStrings: false,
    write: (chunk, _encoding, done) => {
      chunks.push(String(chunk));
      done();
    },
  });
}
