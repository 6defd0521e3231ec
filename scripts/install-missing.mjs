// Runs before `npm start` and `npm test`, under any Node of the machine: plain JavaScript, no packages.
import { spawnSync } from "node:child_process";
import { existsSync, lstatSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
const nodeIsOld = major < 22 || (major === 22 && minor < 18);
// Serving needs the tools only if they bring a newer Node; all other scripts always need them.
const needsTools = nodeIsOld || process.env.npm_lifecycle_event !== "start";

function packagesOf(file) {
  try {
    return JSON.parse(readFileSync(join(root, file), "utf8")).packages;
  } catch (error) {
    if (error.code === "ENOENT") return undefined;
    throw new Error(`${file} cannot be read (${error.message}); restore it with: git checkout -- ${file}`);
  }
}

/** npm writes node_modules/.package-lock.json last, so that an interrupted installation counts as missing. */
function isInstalled(locked) {
  if (!existsSync(join(root, "node_modules/.package-lock.json"))) return false;
  const installed = packagesOf("node_modules/.package-lock.json");
  return Object.entries(locked ?? {}).every(([path, { version, link, dev, optional, devOptional }]) => {
    if (!path.startsWith("node_modules/") || link || optional || devOptional || (dev && !needsTools)) return true;
    return installed[path]?.version === version && existsSync(join(root, path, "package.json"));
  });
}

function fail(message) {
  console.error(message);
  process.exit(1);
}

const locked = packagesOf("package-lock.json");
const justInstalled = !isInstalled(locked);
if (justInstalled && lstatSync(join(root, "node_modules"), { throwIfNoEntry: false })?.isSymbolicLink()) {
  fail("node_modules is a link, and npm would empty the folder behind it; run `npm ci` there, or remove the link");
}
if (justInstalled) {
  console.log(`installing dependencies (about ${needsTools ? 700 : 80} MB, once) …`);
  const command = ["npm", locked ? "ci" : "install", "--loglevel=error", needsTools ? "--include=dev" : "--omit=dev"];
  // npm is a .cmd file on Windows, which only a shell starts; no argument here needs quoting.
  const { status, error } = spawnSync(command.join(" "), { cwd: root, stdio: "inherit", shell: true });
  if (status !== 0) {
    fail(
      `\`${command.join(" ")}\` failed${error ? ` (${error.message})` : ""}; read npm's message above, then try again`,
    );
  }
}
if (nodeIsOld && !existsSync(join(root, "node_modules/.bin/node"))) {
  fail(
    `this is Node ${process.versions.node}, and npm was not allowed to install the repository's own; ` +
      "install Node 22.18 or newer, or run `npm rebuild node --ignore-scripts=false`",
  );
}
if (justInstalled) {
  // Without the template, a first start creates the database itself, which takes seconds longer. That is no reason to
  // fail.
  const node = nodeIsOld ? join(root, "node_modules/.bin/node") : process.execPath;
  console.log("making the database that first starts copy …");
  spawnSync(node, [join(root, "scripts/make-template.ts")], { cwd: root, stdio: "ignore" });
}
