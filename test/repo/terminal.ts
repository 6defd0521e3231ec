import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ProgramResult, runProgram } from "../../testkit/run-program.ts";

/** A bash that somebody pastes blocks into: variables and the folder stay from one block to the next. */
export interface Terminal extends AsyncDisposable {
  /** Runs a block under `-eu`; its own code is the result's. */
  run(block: string): Promise<ProgramResult>;
  /** Runs a block that must end with 0. Returns what it printed. */
  paste(block: string): Promise<string>;
}

/** Opens a terminal in `cwd`, with the variables `env` beside those of this process which are not the test's own. */
export async function openTerminal(cwd: string, env: Readonly<Record<string, string>> = {}): Promise<Terminal> {
  const folder = await mkdtemp(join(tmpdir(), "claviger-terminal-"));
  const state = join(folder, "state");
  const prologue = `set -a; [ ! -e '${state}' ] || { . '${state}'; cd -- "$PWD"; }; trap 'export -p > ${state}' EXIT`;

  const run = (block: string) => runProgram("bash", ["-euc", `${prologue}\n${block}`], { cwd, env });

  return {
    run,
    async paste(block) {
      const { code, stdout, stderr } = await run(block);
      if (code !== 0) throw new Error(`ended with ${code}:\n${block}\n${stdout}\n${stderr}`);
      return stdout;
    },
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }),
  };
}
