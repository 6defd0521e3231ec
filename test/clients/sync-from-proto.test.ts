import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterEach, beforeEach, expect, inject, it } from "vitest";
import { startClaviger, type TestClaviger } from "../../testkit/claviger.ts";
import { describeWithPython } from "../../testkit/describe-with.ts";
import { eventually } from "../../testkit/eventually.ts";
import { PYTHON_GENERATOR } from "../../testkit/foreign-clients.ts";
import { endWithin, type GuardedProcess, spawnGuarded } from "../../testkit/guarded-process.ts";
import { REPOSITORY } from "../../testkit/repository-copy.ts";
import { outputOf } from "../../testkit/run-program.ts";
import { inheritedEnv } from "../../testkit/server-process.ts";
import { makeKey } from "../rpc/make-key.ts";

const DAY = 86_400n;

describeWithPython("a verifier in Python, written from the comments of Sync alone,", () => {
  let claviger: TestClaviger;
  let folder: string;
  let process: GuardedProcess;
  let said: AsyncIterator<string>;

  beforeEach(async () => {
    claviger = await startClaviger("embedded", { CLAVIGER_POLICY: "{}" });
    folder = await mkdtemp(join(tmpdir(), "claviger-sync-"));
    const python = join(inject("python")?.folder ?? "", "python3");
    const image = join(folder, "claviger.binpb");
    await outputOf(join(REPOSITORY, "node_modules/.bin/buf"), ["build", "-o", image], { cwd: REPOSITORY });
    const service = "claviger/v1/key_verifier.proto";
    const messages = ["claviger/v1/key.proto", "buf/validate/validate.proto"];
    const outputs = [`--python_out=${folder}`, `--grpc_python_out=${folder}`];
    const files = [service, ...messages];
    await outputOf(python, ["-c", PYTHON_GENERATOR, `--descriptor_set_in=${image}`, ...outputs, ...files]);
    const env = { ADDRESS: new URL(claviger.url).host, TOKEN: claviger.adminToken, PYTHONPATH: folder };
    process = await spawnGuarded({
      command: python,
      args: [join(REPOSITORY, "test/clients/python/verifier.py")],
      spawn: {
        env: { ...inheritedEnv(), ...env, PYTHONDONTWRITEBYTECODE: "1" },
        stdio: ["pipe", "pipe", "inherit"],
      },
    });
    if (process.child.stdout === null) throw new Error("there is no output; correct the test");
    said = createInterface({ input: process.child.stdout })[Symbol.asyncIterator]();
    expect(await hear()).toBe("attached");
  });
  afterEach(async () => {
    process.child.stdin?.end();
    await endWithin(process, 15_000);
    await claviger.close();
    await rm(folder, { recursive: true, force: true });
  });

  const hear = async () => (await said.next()).value;
  async function verify(...words: string[]): Promise<string> {
    process.child.stdin?.write(`${words.join(" ")}\n`);
    return await hear();
  }

  it("answers from memory, is waited for by a revocation, obeys it, and has its answers counted", async () => {
    const { admin } = claviger;
    const { id, secret } = await makeKey(admin, { owner: "py", scopes: ["orders:*"] });
    await eventually(async () => expect(await verify(secret)).toBe("VERDICT_VALID memory"));
    expect(await verify(secret, "orders:read", "users:read")).toBe("VERDICT_SCOPE_MISSING memory");
    expect(await verify(secret, "orders:read:all")).toBe("VERDICT_VALID memory");
    const { receipt } = await admin.keys.revokeKey({ keyId: id });
    expect(receipt?.expiredVerifierCount).toBe(0);
    expect(await verify(secret)).toBe("VERDICT_REVOKED asked");
    await eventually(async () => expect(await verify(secret)).toBe("VERDICT_REVOKED memory"));

    process.child.stdin?.end();
    expect(await hear()).toBe("closed");
    const today = BigInt(Math.floor(Date.now() / 1000)) / DAY;
    await eventually(async () => {
      const range = { startTime: { seconds: today * DAY }, endTime: { seconds: (today + 1n) * DAY } };
      const { total } = await admin.keys.queryUsage({ keyId: id, step: 3, ...range });
      expect(Number(total)).toBeGreaterThanOrEqual(6);
    });
  });

  it("keeps nothing of a key with limits", async () => {
    const { secret } = await makeKey(claviger.admin, { owner: "py", limits: { requestsPerDay: 3 } });
    const verdicts = [];
    for (let turn = 0; turn < 4; turn++) verdicts.push(await verify(secret));
    const charged = Array.from({ length: 3 }, () => "VERDICT_VALID asked");
    expect(verdicts).toEqual([...charged, "VERDICT_QUOTA_EXHAUSTED asked"]);
  });
});
