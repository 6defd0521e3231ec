#!/usr/bin/env node
// Old versions of Node must be able to read this file, so that it can report them: no imports above the check, no
// syntax newer than Node 12.

const [major, minor] = process.versions.node.split(".").map(Number);

if (major > 22 || (major === 22 && minor >= 18)) {
  start().catch(fail);
} else {
  startWithOwnNode().catch(tooOld);
}

/** Runs the sources in a clone, and the built files in a package. */
async function start() {
  const { existsSync } = await import("node:fs");
  await keepCompiled(existsSync);
  if (major === 22) dropSqliteWarning();
  (await import("./shorten-imports.js")).shortenImports();
  const sources = new URL("../src/cli/main.ts", import.meta.url);
  const { main } = await import(
    existsSync(sources) ? sources.href : new URL("../dist/cli/main.js", import.meta.url).href
  );
  await main();
}

/** Caches V8's compiled code in a clone. It halves the time of a short command, because the sources are TypeScript. */
async function keepCompiled(existsSync) {
  const { enableCompileCache } = await import("node:module");
  const { fileURLToPath } = await import("node:url");
  const modules = fileURLToPath(new URL("../node_modules", import.meta.url));
  if (existsSync(modules)) enableCompileCache(`${modules}/.cache/claviger/compiled`);
}

/** Node 22 warns at each start that SQLite, which locks the data folder, is experimental. Later versions do not. */
function dropSqliteWarning() {
  const { emitWarning } = process;
  process.emitWarning = (warning, ...rest) => {
    if (!String(warning).startsWith("SQLite is an experimental feature")) emitWarning.call(process, warning, ...rest);
  };
}

/** A clone has its own Node as a dev dependency. */
async function startWithOwnNode() {
  const { spawn } = await import("node:child_process");
  const { existsSync, realpathSync } = await import("node:fs");
  const { fileURLToPath } = await import("node:url");
  const node = fileURLToPath(new URL("../node_modules/node/bin/node", import.meta.url));
  if (!existsSync(node) || realpathSync(node) === realpathSync(process.execPath)) {
    tooOld();
    return;
  }
  const args = [fileURLToPath(import.meta.url), ...process.argv.slice(2)];
  const child = spawn(node, args, { stdio: "inherit" });
  const forward = (signal) => child.kill(signal);
  process.on("SIGTERM", forward);
  process.on("SIGINT", forward);
  child.on("error", fail);
  child.on("exit", (code, signal) => {
    process.removeListener("SIGTERM", forward);
    process.removeListener("SIGINT", forward);
    if (signal === null) process.exitCode = code;
    else process.kill(process.pid, signal);
  });
}

/** Also runs on versions of Node without the features that `startWithOwnNode` needs. */
function tooOld() {
  console.error(
    `error: claviger needs Node 22.18 or newer, and this is ${process.versions.node}: install a current one` +
      " (https://nodejs.org), or, in a clone, run `npm install`, which brings one",
  );
  process.exitCode = 2;
}

/** Exit code 1 would mean a denied key. */
function fail(error) {
  console.error(error);
  process.exitCode = 4;
}
