import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath, pathToFileURL } from "node:url";

/** A folder of its own: with a package.json beside them, the programs here would lose Claviger's `#gen/`. */
const FOLDER = new URL("./packages/", import.meta.url);
const NPM = ["install", "--no-save", "--no-package-lock", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"];

/** Installs what is missing, in the exact versions of packages/package.json, and returns the versions that are there. */
export function installAlternatives(): Readonly<Record<string, string>> {
  const { dependencies } = read("package.json");
  const isThere = (name: string) => {
    try {
      return read(`node_modules/${name}/package.json`).version === dependencies[name];
    } catch {
      return false;
    }
  };
  if (!Object.keys(dependencies).every(isThere)) execFileSync("npm", NPM, { cwd: fileURLToPath(FOLDER) });
  return Object.fromEntries(
    [...Object.keys(dependencies), "better-call", "kysely", "zod"].map((name) => [
      name,
      read(`node_modules/${name}/package.json`).version,
    ]),
  );
}

/** The module `name` of those packages. The compiler knows nothing of them: they are not there after `npm ci`. */
export function importAlternative(name: string): Promise<unknown> {
  const path = createRequire(new URL("package.json", FOLDER)).resolve(name);
  return import(pathToFileURL(path).href);
}

interface Manifest {
  readonly version: string;
  readonly dependencies: Readonly<Record<string, string>>;
}

function read(path: string): Manifest {
  return JSON.parse(readFileSync(new URL(path, FOLDER), "utf8"));
}
