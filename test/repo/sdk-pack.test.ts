import { globSync, statSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startClaviger, type TestClaviger } from "../../testkit/claviger.ts";
import { eventually } from "../../testkit/eventually.ts";
import { freePort } from "../../testkit/free-port.ts";
import { endWithin, type GuardedProcess, spawnGuarded } from "../../testkit/guarded-process.ts";
import { REPOSITORY } from "../../testkit/repository-copy.ts";
import { inheritedEnv } from "../../testkit/server-process.ts";
import { reach, sourceFiles } from "./imports.ts";
import { blocksOf, readPage, type Substitution } from "./pages.ts";
import { openTerminal, type Terminal } from "./terminal.ts";

/** Milliseconds, on a machine that may be busy. The installation comes from npm's cache. */
const INSTALL_MS = 120_000;
const SECTION = "Protect a service in five lines";
const ENTRIES = ["", "/connect", "/grpc-js", "/http", "/fastify", "/testing"];
/** What an agent gets that installs nothing else, in MB of files. Measured 3.9, of which this package is 0.5. */
const MOST_MB = 5;

describe("the package @claviger/sdk, packed and installed into an empty folder", { timeout: INSTALL_MS }, () => {
  let claviger: TestClaviger;
  let folder: string;
  let terminal: Terminal;
  let packed: string[];
  let service: GuardedProcess | undefined;

  beforeAll(async () => {
    claviger = await startClaviger("embedded");
    folder = await mkdtemp(join(tmpdir(), "claviger-sdk-pack-"));
    terminal = await openTerminal(folder, {
      // The Node of the test, since a package does not bring its own.
      PATH: `${dirname(process.execPath)}${delimiter}${process.env.PATH}`,
      BUILD: join(REPOSITORY, "scripts/build-sdk.ts"),
      CLI: join(REPOSITORY, "bin/claviger.js"),
      CLAVIGER_URL: claviger.url,
      CLAVIGER_TOKEN: claviger.adminToken,
    });
    await terminal.paste('node "$BUILD" built && cd built && npm pack --silent --pack-destination .. && cd ..');
    packed = (await terminal.paste("tar -tzf claviger-sdk-*.tgz")).trim().split("\n");
    await terminal.paste("mkdir app && cd app && npm init -y > /dev/null && npm pkg set type=module");
    const [program, start] = readme();
    const [install = ""] = start?.text.split("\n") ?? [];
    await terminal.paste(install);
    await writeFile(join(folder, "app/service.ts"), program?.text ?? "");
  }, INSTALL_MS);
  afterAll(async () => {
    service?.child.kill("SIGTERM");
    if (service !== undefined) await endWithin(service, 15_000);
    await terminal[Symbol.asyncDispose]();
    await claviger.close();
    await rm(folder, { recursive: true, force: true });
  });

  /** The blocks of the README's section, with the tarball in place of the published package. */
  function readme(more: readonly Substitution[] = []) {
    const npm = "npm install --prefer-offline --no-audit --no-fund --silent ../claviger-sdk-*.tgz";
    const tarball = { find: "npm install @claviger/sdk", replace: npm };
    return blocksOf(readPage(REPOSITORY, "README.md"), SECTION, [tarball, ...more]);
  }

  async function manifest() {
    return JSON.parse(await readFile(join(folder, "app/node_modules/@claviger/sdk/package.json"), "utf8"));
  }

  it("holds what runs, its page and its proto files, and nothing of the server", () => {
    const names = packed.map((file) => file.replace(/^package\//, ""));
    const places = new Set(names.map((name) => name.replace(/^((dist\/)?[^/]+)\/.*/, "$1/")));
    expect([...places].sort()).toEqual(
      [
        "LICENSE",
        "README.md",
        "dist/keys/",
        "dist/sdk/",
        "dist/system/",
        "dist/usage/",
        "dist/verify/",
        "dist/wire/",
        "gen/",
        "package.json",
        "proto/",
      ].sort(),
    );
    expect(names).toContain("proto/claviger/v1/options.proto");
    expect(names.filter((name) => /\.test\.|(?<!sdk\/testing\/)fake-/.test(name))).toEqual([]);
  });

  it("brings no driver, nor anything else that it does not import", () => {
    const modules = join(folder, "app/node_modules");
    const installed = globSync(["*/package.json", "@*/*/package.json", "**/node_modules/**/package.json"], {
      cwd: modules,
    }).map((path) => dirname(path));
    const expected = ["@bufbuild/protobuf", "@claviger/sdk", "@connectrpc/connect", "@connectrpc/connect-node"];
    expect(installed.sort()).toEqual([...expected, "@opentelemetry/api", "ipaddr.js"]);
    const files = globSync("**/*", { cwd: modules }).map((path) => statSync(join(modules, path)));
    const bytes = files.reduce((sum, file) => sum + (file.isFile() ? file.size : 0), 0);
    expect(bytes / 1e6).toBeLessThan(MOST_MB);
  });

  it("depends on exactly the packages that its modules reach", async () => {
    const files = sourceFiles();
    const reachedFrom = (entries: readonly string[]) => {
      const reached = entries.flatMap((entry) => [...reach(`src/sdk${entry}/index.ts`, files)]);
      const packages = reached.filter((name) => !/^(node:|#gen\/|src\/)/.test(name));
      return new Set(packages.map((name) => /^(@[^/]+\/)?[^/]+/.exec(name)?.[0] ?? ""));
    };
    const needed = reachedFrom(ENTRIES.filter((entry) => entry !== "/grpc-js"));
    const optional = [...reachedFrom(["/grpc-js"])].filter((name) => !needed.has(name));
    const { dependencies, peerDependencies, peerDependenciesMeta } = await manifest();
    expect(Object.keys(dependencies).sort()).toEqual([...needed].sort());
    expect(Object.keys(peerDependencies)).toEqual(optional);
    expect(peerDependenciesMeta).toEqual({ "@grpc/grpc-js": { optional: true } });
  });

  it("is of the same version as the server, and takes the versions that it is tested with", async () => {
    const main = JSON.parse(await readFile(join(REPOSITORY, "package.json"), "utf8"));
    const { version, engines, dependencies, peerDependencies, homepage, repository, keywords } = await manifest();
    expect(homepage).toBe(main.homepage);
    expect(repository.url).toBe(main.repository.url);
    expect(keywords).toContain("api-keys");
    expect({ version, engines }).toEqual({ version: main.version, engines: main.engines });
    expect({ ...main.devDependencies, ...main.dependencies }).toMatchObject({ ...dependencies, ...peerDependencies });
  });

  it("loads, each entry by itself, and has proto files that compile from one root", async () => {
    const others = ENTRIES.filter((entry) => entry !== "/grpc-js");
    const program = `for (const entry of ${JSON.stringify(others)}) await import("@claviger/sdk" + entry);`;
    await writeFile(join(folder, "app/load.js"), program);
    await terminal.paste("node load.js");
    await terminal.paste(`'${join(REPOSITORY, "node_modules/.bin/buf")}' build node_modules/@claviger/sdk/proto`);
  });

  it("protects the README's service: no key is refused, a key is let in, and a revoked one refused at once", async () => {
    const address = `127.0.0.1:${await freePort()}`;
    const [program, , calls] = readme([
      { find: ".listen(8080)", replace: `.listen(${address.split(":")[1]}, "127.0.0.1")` },
      { find: "http://127.0.0.1:8080", replace: `http://${address}` },
      { find: "./bin/claviger.js keys", replace: '"$CLI" keys' },
    ]);
    expect(program?.text.split("\n").filter((line) => line !== "" && !line.startsWith("//"))).toHaveLength(5);
    await writeFile(join(folder, "app/service.ts"), program?.text ?? "");
    service = await spawnGuarded({
      command: process.execPath,
      args: ["service.ts"],
      spawn: {
        cwd: join(folder, "app"),
        env: { ...inheritedEnv(), CLAVIGER_URL: claviger.url, CLAVIGER_TOKEN: claviger.adminToken },
        stdio: "inherit",
      },
    });
    await eventually(() => terminal.paste(`curl -sS http://${address}`));
    expect(await terminal.paste(calls?.text ?? "")).toMatch(
      /^\{"code":"unauthenticated".*"CREDENTIAL_MISSING".*\}hello alice\n.*revoked.*\{.*"verdict":"REVOKED".*\}$/s,
    );
  });

  it("has types, under --strict and with those of its dependencies", async () => {
    await mkdir(join(folder, "app/node_modules/@grpc"), { recursive: true });
    await symlink(join(REPOSITORY, "node_modules/@grpc/grpc-js"), join(folder, "app/node_modules/@grpc/grpc-js"));
    const imports = ENTRIES.map((entry, at) => `import * as entry${at} from "@claviger/sdk${entry}";`);
    await writeFile(join(folder, "app/all.ts"), `${imports.join("\n")}\nconsole.log(entry0.createVerifier);\n`);
    await writeFile(join(folder, "app/wrong.ts"), 'import { createVerifier } from "@claviger/sdk/http";\n');
    const tsc = join(REPOSITORY, "node_modules/.bin/tsc");
    const flags = `--noEmit --strict --target es2024 --module nodenext --types node`;
    const check = `'${tsc}' ${flags} --typeRoots '${join(REPOSITORY, "node_modules/@types")}'`;
    await terminal.paste(`${check} service.ts all.ts`);
    expect((await terminal.run(`${check} wrong.ts`)).stdout).toContain("no exported member 'createVerifier'");
  });
});
