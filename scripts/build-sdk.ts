import { execFileSync } from "node:child_process";
import { cpSync, globSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

/**
 * Builds the package `@claviger/sdk`, a second package from the same tree: an agent installs neither a database nor
 * drivers. Its manifest is made here, because a package.json inside `src/` would change the meaning of `#gen/*`.
 *
 * `node scripts/build-sdk.ts [folder]`, by default into `dist-sdk/`.
 */
const ROOT = fileURLToPath(new URL("..", import.meta.url));
const target = resolve(process.argv[2] ?? join(ROOT, "dist-sdk"));

const ENTRIES = [".", "./connect", "./grpc-js", "./http", "./fastify", "./testing"];
const DEPENDENCIES = [
  "@bufbuild/protobuf",
  "@connectrpc/connect",
  "@connectrpc/connect-node",
  "@opentelemetry/api",
  "ipaddr.js",
];
/** Peers of the entries with their names. Express and Fastify are matched by shape and never imported. */
const OPTIONAL_PEERS = ["@grpc/grpc-js"];
/**
 * One root for every compiler: imports of a service's own protos, the verifier's contract, and the details of errors.
 */
const PROTOS = {
  proto: ["claviger/v1/options", "claviger/v1/key", "claviger/v1/key_verifier"],
  "proto/vendor": ["buf/validate/validate", "google/rpc/status", "google/rpc/error_details"],
};

rmSync(target, { recursive: true, force: true });
const tsc = join(ROOT, "node_modules/.bin/tsc");
execFileSync(tsc, ["-p", "tsconfig.sdk.json", "--outDir", join(target, "dist")], { cwd: ROOT, stdio: "inherit" });
for (const file of generatedFiles()) copy(file);
for (const [folder, names] of Object.entries(PROTOS))
  for (const name of names) copy(`${folder}/${name}.proto`, `proto/${name}.proto`);
copy("LICENSE");
copy("src/sdk/README.md", "README.md");
writeFileSync(join(target, "package.json"), `${JSON.stringify(manifest(), null, 2)}\n`);

function copy(from: string, to = from): void {
  mkdirSync(dirname(join(target, to)), { recursive: true });
  cpSync(join(ROOT, from), join(target, to));
}

/** The files of `gen/` that the compiled files import, and their declarations. */
function generatedFiles(): string[] {
  const compiled = globSync("dist/**/*.{js,d.ts}", { cwd: target }).map((file) => join(target, file));
  const named = compiled.flatMap((file) => [...readFileSync(file, "utf8").matchAll(/"#(gen\/[^"]+)"/g)]);
  const reached = new Set(named.map(([, file = ""]) => file));
  for (const file of reached)
    for (const [, path = ""] of readFileSync(join(ROOT, file), "utf8").matchAll(/from "(\.[^"]+)"/g))
      reached.add(join(dirname(file), path));
  return [...reached].flatMap((file) => [file, file.replace(/\.js$/, ".d.ts")]);
}

function manifest(): object {
  const main = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8"));
  const versions: Record<string, string> = { ...main.devDependencies, ...main.dependencies };
  const pick = (names: readonly string[]) => Object.fromEntries(names.map((name) => [name, versions[name]]));
  const entries = ENTRIES.map((entry) => {
    const file = `./dist/sdk/${entry === "." ? "" : `${entry.slice(2)}/`}index`;
    return [entry, { types: `${file}.d.ts`, default: `${file}.js` }];
  });
  return {
    name: "@claviger/sdk",
    version: main.version,
    description: "API keys of Claviger, verified inside your own service: at memory speed, and revoked at once.",
    license: main.license,
    homepage: main.homepage,
    repository: { ...main.repository, directory: "src/sdk" },
    bugs: main.bugs,
    keywords: [...main.keywords, "express", "fastify", "connectrpc", "middleware"],
    type: "module",
    engines: main.engines,
    exports: { ...Object.fromEntries(entries), "./proto/*": "./proto/*", "./package.json": "./package.json" },
    imports: main.imports,
    dependencies: pick(DEPENDENCIES),
    peerDependencies: pick(OPTIONAL_PEERS),
    peerDependenciesMeta: Object.fromEntries(OPTIONAL_PEERS.map((name) => [name, { optional: true }])),
  };
}
