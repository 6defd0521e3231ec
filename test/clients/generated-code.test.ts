import { copyFile, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, inject, it } from "vitest";
import { describeWithGo, describeWithPython } from "../../testkit/describe-with.ts";
import { goEnvironment, PYTHON_GENERATOR } from "../../testkit/foreign-clients.ts";
import { REPOSITORY } from "../../testkit/repository-copy.ts";
import { outputOf } from "../../testkit/run-program.ts";
import { type RunningServer, startEmbedded } from "./running-server.ts";
import { AT_ONCE, CALLS, DEADLINE_MS, LARGE, SECRET_BYTES, SEEN, TOO_LARGE } from "./seen-by-clients.ts";

const BUF = join(REPOSITORY, "node_modules/.bin/buf");

/** What a client sees of a key that is made, rotated without grace, revoked, and rotated in vain. */
const LIFE = {
  state: "KEY_STATE_ACTIVE",
  created: "VERDICT_VALID",
  rotated: ["VERDICT_RETIRED", "VERDICT_VALID"],
  revoked: ["VERDICT_REVOKED", "VERDICT_REVOKED"],
};

let server: RunningServer;
let folder: string;
beforeAll(async () => {
  [server, folder] = await Promise.all([startEmbedded(), mkdtemp(join(tmpdir(), "claviger-generated-"))]);
});
afterAll(async () => {
  await server.close();
  await rm(folder, { recursive: true, force: true });
});

function program(file: string): string {
  return join(REPOSITORY, "test/clients", file);
}

function environment(): Record<string, string> {
  return { ADDRESS: server.address, TOKEN: server.token };
}

/** The plan of `calls`, for programs of all languages. */
const PLAN = { CALLS, AT_ONCE, SECRET_BYTES, LARGE, TOO_LARGE, DEADLINE_MS };
const CALLS_ENVIRONMENT = Object.fromEntries(Object.entries(PLAN).map(([name, number]) => [name, String(number)]));

describeWithPython("a Python client of generated code", () => {
  const python = () => join(inject("python")?.folder ?? "", "python3");
  const run = (file: string) => {
    const env = { ...environment(), ...CALLS_ENVIRONMENT, PYTHONPATH: folder, PYTHONDONTWRITEBYTECODE: "1" };
    return outputOf(python(), [program(file)], { env });
  };

  beforeAll(async () => {
    const image = join(folder, "claviger.binpb");
    await outputOf(BUF, ["build", "-o", image], { cwd: REPOSITORY });
    const services = ["claviger/v1/key_management.proto", "claviger/v1/key_verifier.proto"];
    const messages = [
      "claviger/v1/audit",
      "claviger/v1/key",
      "claviger/v1/node",
      "claviger/v1/usage",
      "buf/validate/validate",
      "google/rpc/status",
      "google/rpc/error_details",
    ];
    const files = [...services, ...messages.map((name) => `${name}.proto`)];
    await outputOf(python(), [
      ...["-c", PYTHON_GENERATOR, `--descriptor_set_in=${image}`],
      ...[`--python_out=${folder}`, `--grpc_python_out=${folder}`, ...files],
    ]);
  });

  it("sees the life of a key, and the reason of a refusal", async () => {
    const seen = await run("python/life.py");
    expect(JSON.parse(seen)).toEqual({ ...LIFE, refusal: ["FAILED_PRECONDITION", "KEY_REVOKED"] });
  });

  it("streams, cancels, keeps deadlines, sends large messages, then makes 10,000 calls on one connection", async () => {
    expect(JSON.parse(await run("python/calls.py"))).toEqual(SEEN);
  });
});

describeWithGo("a Go client of generated code", () => {
  const run = (what: "life" | "calls") =>
    outputOf(join(folder, "go/example"), [what], { env: { ...environment(), ...CALLS_ENVIRONMENT } });

  beforeAll(async () => {
    const { env, takeModule } = goEnvironment();
    const module = join(folder, "go");
    await takeModule(module);
    const plan = join(REPOSITORY, "examples/go/buf.gen.yaml");
    await outputOf(BUF, ["generate", "--template", plan, "--path", "proto/claviger", "-o", module], {
      cwd: REPOSITORY,
      env,
    });
    for (const file of ["life.go", "calls.go"]) await copyFile(program(`go/${file}`), join(module, file));
    await outputOf("go", ["build", "-o", "example", "."], { cwd: module, env });
  }, 240_000);

  it("sees the life of a key, and the reason of a refusal", async () => {
    expect(JSON.parse(await run("life"))).toEqual({ ...LIFE, refusal: ["FailedPrecondition", "KEY_REVOKED"] });
  });

  it("streams, cancels, keeps deadlines, sends large messages, then makes 10,000 calls on one connection", async () => {
    expect(JSON.parse(await run("calls"))).toEqual(SEEN);
  });
});
