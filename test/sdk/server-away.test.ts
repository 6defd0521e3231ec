import { Code, ConnectError } from "@connectrpc/connect";
import { afterEach, beforeEach, expect, it } from "vitest";
import { Freshness, Verdict } from "#gen/claviger/v1/key_verifier_pb.js";
import { createVerifier, type Verifier } from "../../src/sdk/index.ts";
import { startClaviger, type TestClaviger } from "../../testkit/claviger.ts";
import { eventually } from "../../testkit/eventually.ts";
import { createTcpProxy, type TcpProxy } from "../../testkit/tcp-proxy.ts";
import { makeKey } from "../rpc/make-key.ts";

/** Long enough that a call from memory surely comes before its end. */
const LEASE_MS = 2000;

let claviger: TestClaviger;
let proxy: TcpProxy;
let verifier: Verifier;

beforeEach(async () => {
  claviger = await startClaviger("embedded", { CLAVIGER_LEASE_MS: String(LEASE_MS) });
  proxy = await createTcpProxy({ port: Number(new URL(claviger.url).port) });
  const url = `http://127.0.0.1:${proxy.port}`;
  verifier = createVerifier({ url, token: claviger.adminToken, timeoutMs: 300 });
  await eventually(() => expect(verifier.fresh).toBe(true));
});
afterEach(async () => {
  await proxy.resume();
  await verifier.close();
  await proxy.close();
  await claviger.close();
});

async function keyInMemory() {
  const made = await makeKey(claviger.admin, { owner: "away" });
  await eventually(async () => {
    await verifier.verify(made.secret);
    expect(verifier.verifySync(made.secret)).toMatchObject({ verdict: Verdict.VALID, freshness: Freshness.LEASED });
  });
  return made;
}

async function codeOf(work: Promise<unknown>): Promise<Code | undefined> {
  const error = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  return error instanceof ConnectError ? error.code : undefined;
}

it("a verifier that is cut off answers from memory until its lease ends, and then cannot decide", async () => {
  const { secret } = await keyInMemory();
  proxy.hang();
  expect((await verifier.verify(secret)).verdict).toBe(Verdict.VALID);
  await eventually(() => expect(verifier.fresh).toBe(false));
  expect(verifier.verifySync(secret)).toBe("ask");
  expect(await codeOf(verifier.verify(secret))).toBe(Code.Unavailable);
  await proxy.resume();
  await eventually(async () => expect((await verifier.verify(secret)).verdict).toBe(Verdict.VALID));
  await eventually(() => expect(verifier.fresh).toBe(true));
});

it("a revocation waits for a verifier that is cut off, which lets no call in afterwards", async () => {
  const { id, secret } = await keyInMemory();
  proxy.hang();
  let hasReturned = false;
  const revoked = claviger.admin.keys.revokeKey({ keyId: id }).then(() => {
    hasReturned = true;
  });
  // Begun before it has returned: may be let in.
  expect([verifier.verifySync(secret), hasReturned]).toMatchObject([{ verdict: Verdict.VALID }, false]);
  await revoked;
  expect(verifier.verifySync(secret)).toBe("ask");
  expect(await codeOf(verifier.verify(secret))).toBe(Code.Unavailable);
  await proxy.resume();
  await eventually(async () => expect((await verifier.verify(secret)).verdict).toBe(Verdict.REVOKED));
});
