import { copyFile, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, inject, it } from "vitest";
import { describeWithGo, describeWithPython } from "../../testkit/describe-with.ts";
import { goEnvironment, PYTHON_GENERATOR } from "../../testkit/foreign-clients.ts";
import { REPOSITORY } from "../../testkit/repository-copy.ts";
import { outputOf } from "../../testkit/run-program.ts";
import { type RunningServer, startEmbedded } from "./running-server.ts";

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

describeWithPython("a Python client of generated code", () => {
  it("sees the life of a key, and the reason of a refusal", async () => {
    const python = join(inject("python")?.folder ?? "", "python3");
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
    await outputOf(python, [
      ...["-c", PYTHON_GENERATOR, `--descriptor_set_in=${image}`],
      ...[`--python_out=${folder}`, `--grpc_python_out=${folder}`, ...files],
    ]);

    const env = { ...environment(), PYTHONPATH: folder, PYTHONDONTWRITEBYTECODE: "1" };
    const seen = await outputOf(python, [program("python/life.py")], { env });
    expect(JSON.parse(seen)).toEqual({ ...LIFE, refusal: ["FAILED_PRECONDITION", "KEY_REVOKED"] });
  });
});

describeWithGo("a Go client of generated code", () => {
  it("sees the life of a key, and the reason of a refusal", { timeout: 240_000 }, async () => {
    const { env, takeModule } = goEnvironment();
    const module = join(folder, "go");
    await takeModule(module);
    const plan = join(REPOSITORY, "examples/go/buf.gen.yaml");
    await outputOf(BUF, ["generate", "--template", plan, "--path", "proto/claviger", "-o", module], {
      cwd: REPOSITORY,
      env,
    });
    await copyFile(program("go/life.go"), join(module, "life.go"));
    const seen = await outputOf("go", ["run", "life.go"], { cwd: module, env: { ...env, ...environment() } });
    expect(JSON.parse(seen)).toEqual({ ...LIFE, refusal: ["FailedPrecondition", "KEY_REVOKED"] });
  });
});
