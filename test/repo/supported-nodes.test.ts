import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { describeWithNodes } from "../../testkit/describe-with.ts";
import { eventually } from "../../testkit/eventually.ts";
import { endWithin, type GuardedProcess, spawnGuarded } from "../../testkit/guarded-process.ts";
import { copyRepository, REPOSITORY, type RepositoryCopy } from "../../testkit/repository-copy.ts";
import { outputOf } from "../../testkit/run-program.ts";
import { createSdkProject, type SdkProject } from "../../testkit/sdk-project.ts";
import { inheritedEnv } from "../../testkit/server-process.ts";

/** Asks about the secret until memory answers, as an ES module and by `require`, and loads every other entry. */
const MODULE = `import { createVerifier, Freshness, VerdictSchema } from "@claviger/sdk";
for (const entry of ["connect", "http", "fastify", "grpc-js", "testing"]) await import("@claviger/sdk/" + entry);
const verifier = createVerifier();
let seen = await verifier.verify(process.env.SECRET);
for (let turn = 0; turn < 200 && seen.freshness !== Freshness.LEASED; turn++) {
  await new Promise((done) => setTimeout(done, 25));
  seen = await verifier.verify(process.env.SECRET);
}
console.log(VerdictSchema.value[seen.verdict].name, seen.freshness === Freshness.LEASED ? "LEASED" : "asked", seen.key.owner);
await verifier.close();
`;
const COMMON = MODULE.replace(/import (\{.*\}) from ("[^"]+");/, "const $1 = require($2);")
  .replace("await import(", "require(")
  .replace(/^(const verifier[\s\S]*)$/m, "(async () => {\n$1})();\n");

describeWithNodes("on each Node that is supported", () => {
  let clone: RepositoryCopy;
  let project: SdkProject;
  let programs: string;

  beforeAll(async () => {
    programs = await mkdtemp(join(tmpdir(), "claviger-programs-"));
    await writeFile(join(programs, "ask.mjs"), MODULE);
    await writeFile(join(programs, "ask.cjs"), COMMON);
    [clone, project] = await Promise.all([copyRepository(), createSdkProject(programs)]);
  });
  afterAll(async () => {
    await clone.remove();
    await project.remove();
    await rm(programs, { recursive: true, force: true });
  });

  it("is tried on the oldest that package.json allows", async () => {
    const { engines } = JSON.parse(await readFile(join(REPOSITORY, "package.json"), "utf8"));
    const versions = (inject("nodes") ?? []).map(({ version }) => version);
    expect(versions.map((version) => `>=${version.replace(/\.0$/, "")}`)).toContain(engines.node);
  });

  describe.each(inject("nodes") ?? [])("Node $version", ({ folder: nodeFolder }) => {
    const node = join(nodeFolder, "node");
    let folder: string;
    let server: GuardedProcess;
    let env: Record<string, string>;
    let output = "";

    beforeAll(async () => {
      folder = await mkdtemp(join(tmpdir(), "claviger-node-"));
      await mkdir(join(folder, "data"));
      // Not the repository's own Node, which stands first on the PATH of a test.
      const path = [nodeFolder, ...(process.env.PATH ?? "").split(delimiter)].filter(
        (each) => !each.endsWith("node_modules/.bin"),
      );
      env = { ...inheritedEnv(), PATH: path.join(delimiter), CLAVIGER_LISTEN: "127.0.0.1:0" };
      server = await spawnGuarded({
        command: node,
        args: [join(clone.folder, "bin/claviger.js"), "serve"],
        spawn: { cwd: join(folder, "data"), env, stdio: ["ignore", "pipe", "pipe"] },
      });
      for (const stream of [server.child.stdout, server.child.stderr]) {
        stream?.setEncoding("utf8").on("data", (text: string) => {
          output += text;
        });
      }
      const abandonIf = () => (server.hasExited() ? new Error(output) : undefined);
      await eventually(() => expect(output).toContain("listening on"), { withinMs: 60_000, abandonIf });
      const [, url = ""] = /listening on (\S+)/.exec(output) ?? [];
      const [, token = ""] = /^admin key: (\S+)/m.exec(output) ?? [];
      env = { ...env, CLAVIGER_URL: url, CLAVIGER_TOKEN: token };
    });
    afterAll(async () => {
      server.child.kill("SIGTERM");
      await endWithin(server, 15_000);
      await rm(folder, { recursive: true, force: true });
    });

    const claviger = (args: readonly string[], stdin = "") =>
      outputOf(node, [join(clone.folder, "bin/claviger.js"), ...args], { cwd: folder, env, stdin });
    const createKey = async (owner: string) =>
      (await claviger(["keys", "create", "--owner", owner, "--name", "node", "--quiet"])).trim();

    it("starts without a warning of Node", () => {
      expect(output).not.toContain("Warning");
    });

    it("a clone starts, and its command line creates and verifies a key", async () => {
      expect(await claviger(["verify"], await createKey("alice"))).toMatch(/^VALID:/);
    });

    it.each(["ask.mjs", "ask.cjs"])("the SDK loads and verifies from memory, by %s", async (program) => {
      const SECRET = await createKey("bob");
      const said = await outputOf(node, [program], { cwd: project.folder, env: { ...env, SECRET } });
      expect(said).toBe("VERDICT_VALID LEASED bob\n");
    });
  });
});
