import { execFile } from "node:child_process";
import { inheritedEnv } from "./server-process.ts";

/** The longest that a program may take; building gRPC for Go the first time takes more than a minute on two cores. */
const LONGEST_MS = 240_000;

export interface ProgramOptions {
  readonly cwd?: string;
  /** Beside the variables of this process which are not the test's own. */
  readonly env?: Readonly<Record<string, string>>;
  /** Its standard input. Default empty. */
  readonly stdin?: string | Buffer;
}

export interface ProgramResult {
  /** `null` if a signal ended it. */
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program to its end. Rejects if it could not be started. */
export function runProgram(
  command: string,
  args: readonly string[],
  { cwd, env, stdin = "" }: ProgramOptions = {},
): Promise<ProgramResult> {
  return new Promise((resolve, reject) => {
    const options = { ...(cwd === undefined ? {} : { cwd }), env: { ...inheritedEnv(), ...env }, timeout: LONGEST_MS };
    const child = execFile(command, args, options, (error, stdout, stderr) => {
      const code = error === null ? 0 : (error.code ?? null);
      // A name such as ENOENT: it was not started.
      if (typeof code === "string") reject(error);
      else resolve({ code, stdout, stderr });
    });
    // A program may end before it has read everything.
    child.stdin?.on("error", () => undefined);
    child.stdin?.end(stdin);
  });
}

/** The output of a program that must end with 0. */
export async function outputOf(command: string, args: readonly string[], options?: ProgramOptions): Promise<string> {
  const { code, stdout, stderr } = await runProgram(command, args, options);
  if (code !== 0) throw new Error(`${command} ended with ${code}:\n${stdout}\n${stderr}`);
  return stdout;
}
