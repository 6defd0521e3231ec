import { execFileSync } from "node:child_process";
import { existsSync, realpathSync } from "node:fs";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { eventually } from "../../testkit/eventually.ts";
import { endWithin, type GuardedProcess, spawnGuarded } from "../../testkit/guarded-process.ts";
import { copyRepository, REPOSITORY, type RepositoryCopy } from "../../testkit/repository-copy.ts";
import { inheritedEnv } from "../../testkit/server-process.ts";
import { allBlocksOf, readPage } from "./pages.ts";
import { openTerminal, type Terminal } from "./terminal.ts";

/** Milliseconds, on a machine that may be busy. Most of the installation comes from npm's cache. */
const INSTALL_MS = 180_000;
const TEST_MS = 60_000;

/** Makes a new Node say that it is an old one. */
const PRETEND_OLD = `data:text/javascript,Object.defineProperty(process,"versions",{value:{node:"20.20.2"}})`;

/** Nodes that are too old for Claviger: the machine's own, if there are such, and one that pretends to be. */
function oldNodes(): { name: string; command: string }[] {
  const folders = (process.env.PATH ?? "").split(delimiter).filter((folder) => !folder.includes("node_modules"));
  const files = folders.map((folder) => join(folder, "node")).filter(existsSync);
  // /bin is often the same folder as /usr/bin.
  const nodes = [...new Set(files.map((file) => realpathSync(file)))];
  const old = nodes.flatMap((node) => {
    const version = execFileSync(node, ["--version"], { encoding: "utf8" }).trim();
    const [, major, minor] = /^v(\d+)\.(\d+)/.exec(version) ?? [];
    const isOld = Number(major) < 22 || (Number(major) === 22 && Number(minor) < 18);
    return isOld ? [{ name: version, command: node }] : [];
  });
  return [...old, { name: "pretended", command: `'${process.execPath}' --import '${PRETEND_OLD}'` }];
}

describe("the package, packed and installed into an empty folder", { timeout: TEST_MS }, () => {
  let copy: RepositoryCopy;
  let folder: string;
  let packed: string[];
  let terminal: Terminal;
  let server: GuardedProcess | undefined;
  let output = "";

  beforeAll(async () => {
    copy = await copyRepository();
    folder = await mkdtemp(join(tmpdir(), "claviger-pack-"));
    await using npm = await openTerminal(copy.folder);
    const tarball = (await npm.paste("npm pack --silent")).trim().split("\n").at(-1) ?? "";
    packed = (await npm.paste(`tar -tzf ${tarball}`)).trim().split("\n");

    // The Node of the test, since a package does not bring its own.
    terminal = await openTerminal(folder, {
      PATH: `${dirname(process.execPath)}${delimiter}${process.env.PATH}`,
      TARBALL: join(copy.folder, tarball),
    });
    await terminal.paste("npm init -y > package.json.log && npm pkg set type=module");
    await terminal.paste(installCommand());
    server = await startServer();
  }, INSTALL_MS);
  afterAll(async () => {
    server?.child.kill("SIGTERM");
    if (server !== undefined) await endWithin(server, 15_000);
    await terminal[Symbol.asyncDispose]();
    await copy.remove();
    await rm(folder, { recursive: true, force: true });
  });

  const page = (address = "") =>
    allBlocksOf(readPage(REPOSITORY, "docs/clients/typescript.md"), [
      { find: "./bin/claviger.js", replace: "npx claviger" },
      { find: "npm install claviger ", replace: 'npm install --prefer-offline --no-audit --silent "$TARBALL" ' },
      { find: "http://127.0.0.1:4640", replace: address },
    ]);

  /** The line of the page, with the tarball in place of the published package. */
  function installCommand(): string {
    const line = page()
      .flatMap(({ text }) => text.split("\n"))
      .find((text) => text.startsWith("npm install"));
    if (line === undefined) throw new Error("the page does not say how to install the package; correct the test");
    return line;
  }

  async function startServer(): Promise<GuardedProcess> {
    const started = await spawnGuarded({
      // What npx runs: npx itself starts a shell between, which keeps SIGTERM from the server.
      command: join(folder, "node_modules/.bin/claviger"),
      args: ["serve"],
      spawn: {
        cwd: folder,
        env: {
          ...inheritedEnv(),
          PATH: `${dirname(process.execPath)}${delimiter}${process.env.PATH}`,
          CLAVIGER_LISTEN: "127.0.0.1:0",
        },
        stdio: ["ignore", "pipe", "pipe"],
      },
    });
    for (const stream of [started.child.stdout, started.child.stderr]) {
      stream?.setEncoding("utf8").on("data", (text: string) => {
        output += text;
      });
    }
    await eventually(
      () => {
        if (!output.includes("listening on")) throw new Error(`claviger serve says only: ${output}`);
      },
      { withinMs: 30_000, abandonIf: () => (started.hasExited() ? new Error(output) : undefined) },
    );
    return started;
  }

  it("holds what runs and the contract, and nothing of the development", () => {
    const names = packed.map((file) => file.replace(/^package\//, ""));
    expect(names).toEqual(
      expect.arrayContaining([
        ...[
          "package.json",
          "README.md",
          "LICENSE",
          "CHANGELOG.md",
          "bin/claviger.js",
          "dist/index.js",
          "dist/index.d.ts",
        ],
        ...["gen/claviger/v1/key_verifier_pb.js", "proto/claviger/v1/key_verifier.proto"],
      ]),
    );
    expect(names.filter((name) => name.startsWith("migrations/") && name.endsWith(".sql"))).not.toEqual([]);
    const places = new Set(names.map((name) => (name.includes("/") ? `${name.split("/")[0]}/` : name)));
    expect([...places].sort()).toEqual(
      ["CHANGELOG.md", "LICENSE", "README.md", "bin/", "dist/", "gen/", "migrations/", "package.json", "proto/"].sort(),
    );
    expect(names.filter((name) => name.includes(".test."))).toEqual([]);
  });

  it("serves, and its command line creates and verifies a key", async () => {
    const lines = output.split("\n").filter((line) => line.startsWith("  "));
    expect(lines.length).toBe(4);
    for (const line of lines.slice(0, 2)) await terminal.paste(line);
    expect(await terminal.paste(lines[2] ?? "")).toMatch(/^VALID:/);
  });

  it("is started by npx claviger serve, which is refused while another server holds the folder", async () => {
    const refused = await terminal.run("npx claviger serve");
    expect(refused).toMatchObject({ code: 3, stderr: expect.stringContaining(`held by process ${server?.pid}`) });
  });

  it("gives the TypeScript client of the page the contract, with types", async () => {
    const [, url = ""] = /listening on (\S+)/.exec(output) ?? [];
    const blocks = page(url);
    const program = blocks.find(({ file }) => file === "verify.ts");
    const call = blocks.flatMap(({ text }) => text.split("\n")).find((line) => line.endsWith("node verify.ts"));
    await writeFile(join(folder, "verify.ts"), program?.text ?? "");
    await terminal.paste(blocks[0]?.text ?? "");
    expect(await terminal.paste(call ?? "")).toBe("VERDICT_VALID bob\n");

    const tsc = join(REPOSITORY, "node_modules/.bin/tsc");
    const types = join(REPOSITORY, "node_modules/@types");
    const flags = `--noEmit --strict --target es2024 --module nodenext --types node --typeRoots '${types}'`;
    await terminal.paste(`'${tsc}' ${flags} verify.ts`);
    await writeFile(join(folder, "wrong.ts"), 'import { NoSuchThing } from "claviger";\nconsole.log(NoSuchThing);\n');
    expect((await terminal.run(`'${tsc}' ${flags} wrong.ts`)).stdout).toContain("no exported member 'NoSuchThing'");
  });

  it("gives a JavaScript program the contract, and its proto files", async () => {
    const program = `import { readFileSync } from "node:fs";
      import { KeyVerifier } from "claviger";
      const proto = new URL(import.meta.resolve("claviger/proto/claviger/v1/key_verifier.proto"));
      console.log(KeyVerifier.typeName, readFileSync(proto, "utf8").includes("service KeyVerifier"));`;
    await mkdir(join(folder, "app"), { recursive: true });
    await writeFile(join(folder, "app/main.js"), program);
    expect(await terminal.paste("node app/main.js")).toBe("claviger.v1.KeyVerifier true\n");
  });

  it.each(oldNodes())("tells an old Node ($name) what to do, and ends with 2", async ({ command }) => {
    const ran = await terminal.run(`${command} node_modules/claviger/bin/claviger.js serve`);
    expect(ran).toMatchObject({ code: 2, stdout: "" });
    expect(ran.stderr).toMatch(/needs Node 22\.18 or newer, and this is 20\.\S+: install a current one/);
  });
});
