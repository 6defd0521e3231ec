import type { Readable, Writable } from "node:stream";
import type { ExitCode } from "./cli-error.ts";

/** All that a command sees of the process it runs in. `main.ts` makes the real one, tests make their own. */
export interface Shell {
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly stdin: Readable & { readonly isTTY?: boolean };
  /** For the result of the command. A program may read it. */
  readonly stdout: Writable & { readonly isTTY?: boolean };
  /** Cells in a line of the terminal that `stdout` is; undefined for a file or a pipe. */
  readonly columns: number | undefined;
  /** The time zone that people here read times in, such as `Europe/Berlin`. */
  readonly timeZone: string;
  /** For errors, warnings and prompts. */
  readonly stderr: Writable;
  /** The version of this package. */
  readonly version: string;
  /** How a person starts this program from where they are, for commands to paste. */
  readonly command: string;
  readonly now: () => Date;
  /** Calls `listener` on every SIGTERM and SIGINT, instead of dying of it. */
  readonly onStopSignal: (listener: () => void) => void;
  /**
   * For a server: `report` gets an error that no code has handled, instead of a line on stderr, before the process ends
   * with 70.
   */
  readonly onDefect: (report: (error: unknown, kind: string) => void) => void;
  /** Ends the process at once, whatever is going on. */
  readonly exit: (code: number) => void;
  /** The exit code of the process if nothing fails: 0 until a command sets it. */
  exitCode: ExitCode;
}

/**
 * How long after the first signal another counts as its echo: Ctrl-C reaches every process of the terminal, and npm and
 * our own launcher pass it on once more. A person is slower.
 */
const ECHO_MS = 250;

/** Resolves on the first SIGTERM or SIGINT. The second ends the process at once, with 1. */
export function stopSignal(shell: Pick<Shell, "onStopSignal" | "now" | "exit">): Promise<void> {
  return new Promise((resolve) => {
    let first: number | undefined;
    shell.onStopSignal(() => {
      const now = shell.now().getTime();
      if (first !== undefined && now - first > ECHO_MS) shell.exit(1);
      first ??= now;
      resolve();
    });
  });
}
