import { existsSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const HOOK = new URL("./unheard-hook.ts", import.meta.url).href;
/** One per test process. */
const FILE = join(tmpdir(), `claviger-unheard-${process.pid}.txt`);

/** The environment that makes a Node process, and those it starts, note what no code of theirs handles. */
export function noteUnheard(nodeOptions = ""): { NODE_OPTIONS: string; CLAVIGER_TEST_UNHEARD: string } {
  return { NODE_OPTIONS: `--import=${HOOK} ${nodeOptions}`.trim(), CLAVIGER_TEST_UNHEARD: FILE };
}

/** Returns the notes so far, and deletes them. */
export function takeUnheard(): string {
  const noted = existsSync(FILE) ? readFileSync(FILE, "utf8") : "";
  rmSync(FILE, { force: true });
  return noted;
}
