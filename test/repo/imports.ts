import { globSync, readFileSync } from "node:fs";
import { dirname, join, normalize, relative } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

// The formatter puts every static import at the start of a line, between double quotes.
const STATIC = /^(?:import|export)(?: type)?(?: [\w$*{},\s]+ from)? "([^"]+)";/gm;
const DYNAMIC = /\bimport\(\s*"([^"]+)"/g;

/** One file of `src/` and what it imports, types included; paths from the root, packages by their specifier. */
export interface SourceFile {
  readonly path: string;
  readonly imports: readonly string[];
}

/** All of `src/` but its tests. */
export function sourceFiles(): SourceFile[] {
  return globSync("src/**/*.ts", { cwd: ROOT })
    .filter((path) => !path.endsWith(".test.ts"))
    .map((path) => ({ path, imports: importsOf(path, readFileSync(join(ROOT, path), "utf8")) }));
}

/** What the source text of `path` imports. */
export function importsOf(path: string, source: string): string[] {
  const specifiers = [...source.matchAll(STATIC), ...source.matchAll(DYNAMIC)].map(([, specifier = ""]) => specifier);
  return specifiers.map((specifier) =>
    specifier.startsWith(".") ? relative(".", normalize(join(dirname(path), specifier))) : specifier,
  );
}

/** `keys` for `src/keys/secret.ts`, `#gen` for generated code, `undefined` for packages and files outside the rooms. */
export function roomOf(path: string): string | undefined {
  if (path.startsWith("#gen/")) return "#gen";
  return /^src\/([^/]+)\//.exec(path)?.[1];
}

/** The first cycle of imports, from a file back to itself, or `undefined`. */
export function findCycle(files: readonly SourceFile[]): string[] | undefined {
  const imports = new Map(files.map((file) => [file.path, file.imports]));
  const done = new Set<string>();
  function visit(path: string, trail: readonly string[]): string[] | undefined {
    if (trail.includes(path)) return [...trail.slice(trail.indexOf(path)), path];
    if (done.has(path)) return undefined;
    for (const next of imports.get(path) ?? []) {
      const cycle = visit(next, [...trail, path]);
      if (cycle) return cycle;
    }
    done.add(path);
    return undefined;
  }
  for (const { path } of files) {
    const cycle = visit(path, []);
    if (cycle) return cycle;
  }
  return undefined;
}

/** Everything that `path` reaches, itself included, packages too. */
export function reach(path: string, files: readonly SourceFile[]): Set<string> {
  const imports = new Map(files.map((file) => [file.path, file.imports]));
  const reached = new Set([path]);
  for (const next of reached) {
    for (const imported of imports.get(next) ?? []) reached.add(imported);
  }
  return reached;
}
