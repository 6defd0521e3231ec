import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const ROOT = new URL("../", import.meta.url);
const HOOK = new URL("./mutation-hook.ts", import.meta.url).href;

/** One change to a source file: the control twin of a guarantee runs the product with its mitigation taken out. */
export interface Mutation {
  /** The file, from the root of the repository: `src/postgres/owners.ts`. */
  readonly file: string;
  /** The text to replace; it must occur exactly once. */
  readonly find: string;
  readonly replace: string;
}

/** A mutation as the hook reads it from the environment. */
export interface LoadedMutation extends Mutation {
  readonly url: string;
}

/**
 * The environment that makes a Node process, and those it starts, load the changed source.
 * Throws unless each text is found exactly once, so that a control cannot rot; the process checks again as it loads.
 *
 * @example
 * startServer({ env: mutate({ file: "src/postgres/owners.ts", find: '.for("update")', replace: "" }) });
 */
export function mutate(...mutations: readonly Mutation[]): { NODE_OPTIONS: string; CLAVIGER_TEST_MUTATIONS: string } {
  const loaded = mutations.map((mutation) => ({ ...mutation, url: new URL(mutation.file, ROOT).href }));
  for (const mutation of loaded) {
    applyMutation(mutation, readFileSync(fileURLToPath(mutation.url), "utf8"));
  }
  return { NODE_OPTIONS: `--import=${HOOK}`, CLAVIGER_TEST_MUTATIONS: JSON.stringify(loaded) };
}

/** The changed source. Throws unless `find` occurs in it exactly once. */
export function applyMutation({ file, find, replace }: Mutation, source: string): string {
  const at = source.indexOf(find);
  if (find === "" || at === -1 || at !== source.lastIndexOf(find)) {
    const times = at === -1 ? "never" : "more than once";
    throw new Error(
      `${file} contains ${JSON.stringify(find)} ${times}, not exactly once; adapt the control to the code`,
    );
  }
  return source.slice(0, at) + replace + source.slice(at + find.length);
}
