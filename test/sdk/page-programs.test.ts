import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { afterAll, afterEach, beforeAll, describe, expect, inject, it } from "vitest";
import { startClaviger, type TestClaviger } from "../../testkit/claviger.ts";
import { eventually } from "../../testkit/eventually.ts";
import { freePort } from "../../testkit/free-port.ts";
import { endWithin, type GuardedProcess, spawnGuarded } from "../../testkit/guarded-process.ts";
import { REPOSITORY } from "../../testkit/repository-copy.ts";
import { outputOf, runProgram } from "../../testkit/run-program.ts";
import type { SdkProject } from "../../testkit/sdk-project.ts";
import { inheritedEnv } from "../../testkit/server-process.ts";
import { type MadeKey, makeKey } from "../rpc/make-key.ts";
import { commonName, createPageProject, pageFiles } from "./page-programs.ts";

/** The oldest and the newest Node that is supported; where they were not brought, the one that runs the tests. */
const NODES = [inject("nodes")?.at(0), inject("nodes")?.at(-1)].map((found) => ({
  version: found?.version ?? process.version,
  node: found === undefined ? process.execPath : join(found.folder, "node"),
}));
const MODULES = [
  { kind: "an ES module in TypeScript", nameOf: (name: string) => name },
  { kind: "a CommonJS module", nameOf: commonName },
];

let claviger: TestClaviger;
let project: SdkProject;
let secrets: string;
let alice: MadeKey;
let bob: MadeKey;

beforeAll(async () => {
  [claviger, project] = await Promise.all([startClaviger("embedded"), createPageProject()]);
  const scopes = ["orders:read", "orders:write", "chat:join"];
  alice = await makeKey(claviger.admin, { owner: "alice", scopes });
  bob = await makeKey(claviger.admin, { owner: "bob" });
  secrets = await mkdtemp(join(tmpdir(), "claviger-page-secrets-"));
  await writeFile(join(secrets, "orders"), `${alice.secret}\n`);
}, 120_000);
afterAll(async () => {
  await claviger.close();
  await project.remove();
  await rm(secrets, { recursive: true, force: true });
});

describe("the programs of the page of the SDK", () => {
  const programs = pageFiles()
    .map(({ name }) => name)
    .filter((name) => name.endsWith(".ts"));

  it.each([
    ["nodenext", { module: "nodenext" }],
    ["bundler", { module: "esnext", moduleResolution: "bundler" }],
  ])("compile under --strict, unchanged, with module resolution %s", async (name, resolution) => {
    const config = {
      compilerOptions: {
        ...resolution,
        ...{ target: "es2024", lib: ["es2024", "esnext.disposable"], types: ["node"] },
        ...{ strict: true, noEmit: true, allowImportingTsExtensions: true, skipLibCheck: true },
      },
      files: ["given.d.ts", ...programs],
    };
    const file = join(project.folder, `tsconfig.${name}.json`);
    await writeFile(file, JSON.stringify(config));
    expect(await runProgram(join(REPOSITORY, "node_modules/.bin/tsc"), ["-p", file])).toMatchObject({
      code: 0,
      stdout: "",
    });
  });

  it("the test for Vitest passes", { timeout: 120_000 }, async () => {
    const args = ["node_modules/vitest/vitest.mjs", "run", "orders.vitest.test.ts"];
    expect(await outputOf(process.execPath, args, { cwd: project.folder })).toMatch(/Tests .*1 passed/);
  });

  it("are all run below", () => {
    const tests = ["orders.ts", "orders.node.test.ts", "orders.vitest.test.ts"];
    const run = ["verify.ts", "sources.ts", ...SERVICES.map(({ name }) => name), ...Object.values(CLIENTS), ...tests];
    expect(run.sort()).toEqual(programs.sort());
  });

  describe.each(NODES)("on Node $version", ({ node }) => {
    it("the test for Node's own runner passes", { timeout: 60_000 }, async () => {
      const said = await outputOf(node, ["--test", "orders.node.test.ts"], { cwd: project.folder });
      expect(said).toMatch(/^\S+ pass 1$/m);
    });

    describe.each(MODULES)("as $kind", ({ nameOf }) => {
      let port: number;
      let service: GuardedProcess | undefined;
      let said = "";
      afterEach(async () => {
        service?.child.kill("SIGTERM");
        if (service !== undefined) await endWithin(service, 15_000);
        service = undefined;
      });

      const env = () => ({
        ...{ PORT: String(port), SECRETS: secrets, CLAVIGER_URL: claviger.url, CLAVIGER_TOKEN: claviger.adminToken },
      });
      const argsOf = (name: string) => ["--import", "./preload.mjs", nameOf(name)];
      const run = (name: string, ...args: string[]) =>
        outputOf(node, [...argsOf(name), ...args], { cwd: project.folder, env: env() });

      async function serve(name: string): Promise<void> {
        port = await freePort();
        said = "";
        service = await spawnGuarded({
          command: node,
          args: argsOf(name),
          spawn: { cwd: project.folder, env: { ...inheritedEnv(), ...env() }, stdio: ["ignore", "ignore", "pipe"] },
        });
        service.child.stderr?.setEncoding("utf8").on("data", (more: string) => {
          said += more;
        });
        const abandonIf = () => (service?.hasExited() ? new Error(`${name} has ended:\n${said}`) : undefined);
        await eventually(() => knock(port), { withinMs: 60_000, abandonIf });
      }

      it("verify.ts verifies a secret, and ends", { timeout: 60_000 }, async () => {
        expect(await run("verify.ts", alice.secret)).toBe(`hello alice\n${alice.id}\n`);
        expect(await run("verify.ts", bob.secret)).toBe(`SCOPE_MISSING [ 'orders:read' ]\n${bob.id}\n`);
      });

      it("sources.ts takes every kind of source, and ends", { timeout: 60_000 }, async () => {
        expect(await run("sources.ts")).toBe("");
      });

      it.each(SERVICES)("$name lets the right keys in", { timeout: 120_000 }, async ({ name, calls }) => {
        await serve(name);
        for (const call of calls) expect(await ask(port, call)).toEqual(call.gives);
        const client = CLIENTS[name];
        if (client !== undefined) expect(await run(client)).toBe("hello alice\n");
      });
    });
  });
});

interface HttpCall {
  readonly method?: string;
  readonly path: string;
  readonly by?: "alice" | "bob";
  readonly upgrade?: boolean;
  /** Status and body; of a refusal its reason. */
  readonly gives: readonly [status: number, body: string];
}

/** The page's services, and what they answer over HTTP/1.1; those of gRPC are called by their clients. */
const SERVICES: readonly { readonly name: string; readonly calls: readonly HttpCall[] }[] = [
  { name: "connect-service.ts", calls: [] },
  { name: "grpc-js-service.ts", calls: [] },
  {
    name: "http-service.ts",
    calls: [
      { path: "/", gives: [401, "CREDENTIAL_MISSING"] },
      { path: "/", by: "bob", gives: [200, "bob"] },
    ],
  },
  {
    name: "problem-service.ts",
    calls: [
      {
        path: "/",
        gives: [401, expect.stringMatching(/^\{"type":"about:blank","status":401,"title":"the call has no key/)],
      },
      { path: "/", by: "bob", gives: [200, "bob"] },
    ],
  },
  {
    name: "express-service.ts",
    calls: [
      { path: "/health?verbose=1", gives: [200, "good"] },
      { method: "POST", path: "/orders", gives: [401, "CREDENTIAL_MISSING"] },
      { method: "POST", path: "/orders", by: "bob", gives: [403, "PERMISSION_DENIED"] },
      { method: "POST", path: "/orders", by: "alice", gives: [200, "alice"] },
    ],
  },
  {
    name: "websocket-service.ts",
    calls: [
      { path: "/", by: "bob", gives: [200, "hello"] },
      { path: "/", by: "bob", upgrade: true, gives: [403, "PERMISSION_DENIED"] },
      { path: "/", by: "alice", upgrade: true, gives: [101, ""] },
    ],
  },
  {
    name: "fastify-service.ts",
    calls: [
      { path: "/", by: "bob", gives: [200, "bob"] },
      { method: "POST", path: "/orders", gives: [401, "CREDENTIAL_MISSING"] },
      { method: "POST", path: "/orders", by: "bob", gives: [403, "PERMISSION_DENIED"] },
      { method: "POST", path: "/orders", by: "alice", gives: [200, "written"] },
    ],
  },
];
const CLIENTS: Readonly<Record<string, string>> = {
  "connect-service.ts": "connect-client.ts",
  "grpc-js-service.ts": "grpc-js-client.ts",
};

async function knock(port: number): Promise<void> {
  const socket = connect(port, "127.0.0.1");
  await once(socket, "connect").finally(() => socket.destroy());
}

async function ask(port: number, { method = "GET", path, by, upgrade }: HttpCall): Promise<HttpCall["gives"]> {
  const socket = connect(port, "127.0.0.1");
  const secret = { alice, bob }[by ?? "alice"].secret;
  const headers = [
    ...["host: a", upgrade ? "connection: upgrade\r\nupgrade: websocket" : "connection: close", "content-length: 0"],
    ...(by === undefined ? [] : [`authorization: Bearer ${secret}`]),
  ];
  socket.write(`${method} ${path} HTTP/1.1\r\n${headers.join("\r\n")}\r\n\r\n`);
  const answer = await text(socket);
  const [, status = "", body = ""] = /^HTTP\/1.1 (\d+) .*?\r\n\r\n(.*)$/s.exec(answer) ?? [];
  const content = /transfer-encoding: chunked/i.test(answer) ? body.split("\r\n")[1] : body;
  return [Number(status), /"reason":"(\w+)"/.exec(content ?? "")?.[1] ?? content ?? ""];
}
