import { writeFile } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { startClaviger, type TestClaviger } from "../../testkit/claviger.ts";
import { describeWithGo, describeWithPython } from "../../testkit/describe-with.ts";
import { eventually } from "../../testkit/eventually.ts";
import { goEnvironment, PYTHON_GENERATOR } from "../../testkit/foreign-clients.ts";
import { freePort } from "../../testkit/free-port.ts";
import { endWithin, type GuardedProcess, spawnGuarded } from "../../testkit/guarded-process.ts";
import { REPOSITORY } from "../../testkit/repository-copy.ts";
import { outputOf, runProgram } from "../../testkit/run-program.ts";
import { createSdkProject, type SdkProject } from "../../testkit/sdk-project.ts";
import { inheritedEnv } from "../../testkit/server-process.ts";
import { makeKey } from "../rpc/make-key.ts";
import { expected, plainly, post } from "./example-programs.ts";

let claviger: TestClaviger;
let project: SdkProject;
const programs: GuardedProcess[] = [];

beforeAll(async () => {
  [claviger, project] = await Promise.all([startClaviger("embedded"), createSdkProject(join(REPOSITORY, "examples"))]);
  await outputOf("node_modules/.bin/buf", ["generate"], { cwd: project.folder, env: pathWithBin() });
});
afterAll(async () => {
  for (const { child } of programs) child.kill("SIGTERM");
  for (const program of programs) await endWithin(program, 15_000);
  await claviger.close();
  await project.remove();
});

function pathWithBin() {
  return { PATH: `${join(project.folder, "node_modules/.bin")}${delimiter}${process.env.PATH}` };
}

/** Starts a program of the examples, until it listens. Returns its address. */
async function start(file: string, env: Record<string, string> = {}, port?: number): Promise<string> {
  const listen = String(port ?? (await freePort()));
  const program = await spawnGuarded({
    command: process.execPath,
    args: [file],
    spawn: {
      cwd: project.folder,
      env: {
        ...inheritedEnv(),
        ...{ LISTEN: listen, CLAVIGER_URL: claviger.url, CLAVIGER_TOKEN: claviger.adminToken },
        ...env,
      },
      stdio: ["ignore", "pipe", "inherit"],
    },
  });
  programs.push(program);
  let output = "";
  program.child.stdout?.setEncoding("utf8").on("data", (text: string) => {
    output += text;
  });
  await eventually(() => expect(output).toContain("listening"), { withinMs: 30_000 });
  return `127.0.0.1:${listen}`;
}

/** A key that may ask and not teach, with its secret in a file. */
async function keyInFile(owner: string) {
  const { id, secret } = await makeKey(claviger.admin, { owner, scopes: ["agent:ask"] });
  const file = join(project.folder, `${owner}.key`);
  await writeFile(file, `${secret}\n`);
  return { id, secret, file };
}

const revoke = (keyId: string) => claviger.admin.keys.revokeKey({ keyId });

it("the examples compile under --strict against the package", async () => {
  const options = { target: "es2024", lib: ["es2024", "esnext.disposable"], module: "nodenext", types: ["node"] };
  const others = { strict: true, noEmit: true, allowImportingTsExtensions: true, skipLibCheck: true };
  const config = { compilerOptions: { ...options, ...others }, include: ["connect", "grpc-js", "gen"] };
  await writeFile(join(project.folder, "tsconfig.json"), JSON.stringify(config));
  const checked = await runProgram("node_modules/.bin/tsc", ["-p", "."], { cwd: project.folder });
  expect(checked).toMatchObject({ code: 0, stdout: "" });
});

describe("two agents on Connect that call each other", () => {
  it("let each other in by their keys, follow a rotation, and refuse a revoked key at once", async () => {
    const [ada, bob, eve] = await Promise.all([keyInFile("ada"), keyInFile("bob"), keyInFile("eve")]);
    const bobPort = await freePort();
    const address = await start("connect/agent.ts", { KEY_FILE: ada.file, PEER: `http://127.0.0.1:${bobPort}` });
    await start("connect/agent.ts", { KEY_FILE: bob.file, PEER: `http://${address}` }, bobPort);
    const ask = async (hops: number, secret = eve.secret) => {
      const { answer, code } = await post(address, secret, { question: "why?", hops });
      return answer ?? code;
    };
    const all = "eve asks, and ada asks, and bob asks: why?";
    expect(await ask(2)).toBe(all);
    expect(await ask(2, "")).toBe("unauthenticated");

    const rotated = await claviger.admin.keys.rotateKey({ keyId: ada.id, gracePeriod: { seconds: 0n } });
    await writeFile(ada.file, `${rotated.secret}\n`);
    expect(await ask(2)).toBe(all);

    await revoke(bob.id);
    expect(await ask(2)).toBe("failed_precondition");
    expect(await ask(1)).toBe("eve asks, and ada asks: why?");
    await revoke(eve.id);
    expect(await ask(0)).toBe("unauthenticated");
  });
});

describe("a service on grpc-js that requires keys", () => {
  let address: string;
  beforeAll(async () => {
    address = await start("grpc-js/service.ts");
  });

  /** What a client says before and after its key is revoked. */
  async function sayTwice(owner: string, run: (key: { secret: string; file: string }) => Promise<string>) {
    const key = await keyInFile(owner);
    const before = await run(key);
    await revoke(key.id);
    const after = await run(key);
    return [before, after].map((said) => said.trim().split("\n"));
  }

  it("is called from grpc-js", async () => {
    const said = await sayTwice("gina", ({ file }) =>
      outputOf(process.execPath, ["grpc-js/client.ts", address], { cwd: project.folder, env: { KEY_FILE: file } }),
    );
    expect(plainly(said)).toEqual(expected("gina"));
  });

  describeWithPython("from Python, with generated code,", () => {
    it("is called, and says why it refuses", async () => {
      const python = join(inject("python")?.folder ?? "", "python3");
      const env = { ...pathWithBin(), PYTHONDONTWRITEBYTECODE: "1" };
      const options = { cwd: project.folder, env };
      const image = "--descriptor_set_in=protos.binpb";
      await outputOf("buf", ["build", "-o", "protos.binpb"], options);
      const messages = ["claviger/v1/options", "google/rpc/status", "google/rpc/error_details"];
      const files = ["example/v1/agent", ...messages].map((name) => `${name}.proto`);
      const outputs = ["--python_out=python", "--grpc_python_out=python"];
      await outputOf(python, ["-c", PYTHON_GENERATOR, image, ...outputs, ...files], options);
      const said = await sayTwice("pia", ({ secret }) =>
        outputOf(python, ["python/client.py", address], { ...options, env: { ...env, KEY: secret } }),
      );
      expect(plainly(said)).toEqual(expected("pia"));
    });
  });

  describeWithGo("from Go, with generated code,", () => {
    it("is called, and says why it refuses", { timeout: 240_000 }, async () => {
      const generate = ["generate", "--template", "go/buf.gen.yaml", "--path", "proto/example", "-o", "go"];
      const { env, takeModule } = goEnvironment();
      const path = [pathWithBin().PATH, env.PATH].join(delimiter);
      await outputOf("buf", generate, { cwd: project.folder, env: { PATH: path } });
      const options = { cwd: join(project.folder, "go"), env };
      await takeModule(options.cwd);
      await outputOf("go", ["build", "-o", "client", "client.go"], options);
      const said = await sayTwice("gus", ({ secret }) =>
        outputOf("./client", [address], { ...options, env: { KEY: secret } }),
      );
      expect(plainly(said)).toEqual(expected("gus"));
    });
  });
});
