import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import { afterEach, describe, expect, it } from "vitest";
import { Environment } from "#gen/claviger/v1/key_pb.js";
import { Freshness, Verdict } from "#gen/claviger/v1/key_verifier_pb.js";
import { ErrorInfoSchema } from "#gen/google/rpc/error_details_pb.js";
import { writeSecretForm } from "../../src/keys/secret-form.ts";
import { nameOf } from "../../src/rpc/codec/from-proto.ts";
import {
  createVerifier,
  fromFile,
  type Question,
  type Verification,
  type Verifier,
  type VerifierOptions,
} from "../../src/sdk/index.ts";
import { describeOnEachStorage, startClaviger } from "../../testkit/claviger.ts";
import { eventually } from "../../testkit/eventually.ts";
import { forge, mistype } from "../rpc/forge.ts";
import { makeKey } from "../rpc/make-key.ts";

const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

/** An agent, attached. */
async function attach(url: string, token: string, options: VerifierOptions = {}): Promise<Verifier> {
  const verifier = createVerifier({ url, token, ...options });
  closing.push(() => verifier.close());
  await eventually(() => expect(verifier.fresh).toBe(true));
  return verifier;
}

/** Asks until the answer comes from memory. */
async function fromMemory(verifier: Verifier, secret: string, question?: Question): Promise<Verification> {
  return await eventually(async () => {
    await verifier.verify(secret, question);
    const known = verifier.verifySync(secret, question);
    if (known === "ask") throw new Error("it is not in memory");
    return known;
  });
}

async function codeOf(work: Promise<unknown>): Promise<Code | undefined> {
  const error = await work.then(
    () => undefined,
    (error: unknown) => error,
  );
  return error instanceof ConnectError ? error.code : undefined;
}

describeOnEachStorage("a verifier inside an agent", (claviger) => {
  it("answers from memory with the fields of Verify", async () => {
    const { url, adminToken, admin } = claviger();
    const made = await makeKey(admin, {
      ...{ owner: "sdk", displayName: "Robot", scopes: ["orders:*"], labels: { team: "blue" }, metadata: { a: 1 } },
      allowedCidrs: ["10.0.0.0/8"],
    });
    const verifier = await attach(url, adminToken);
    const questions: Question[] = [
      { scopes: ["orders:read"], clientIp: "10.1.2.3" },
      { scopes: ["orders:read", "users:read"], clientIp: "10.1.2.3" },
      { scopes: ["orders:read"], clientIp: "11.1.2.3" },
      {},
      { environment: "live", clientIp: "10.1.2.3" },
      { environment: "test", clientIp: "11.1.2.3", scopes: ["users:read"] },
      { environment: "any", clientIp: "10.1.2.3" },
    ];
    const environments = { live: Environment.LIVE, test: Environment.TEST, any: Environment.UNSPECIFIED };
    for (const question of questions) {
      const { scopes = [], clientIp = "", environment: wanted = "any" } = question;
      const environment = environments[wanted];
      const request = { secret: made.secret, requiredScopes: [...scopes], clientIp, environment };
      const asked = await admin.verifier.verify(request);
      const known = await fromMemory(verifier, made.secret, question);
      const { verdict, key, missingScopes } = asked;
      expect(known).toMatchObject({ verdict, key, missingScopes, freshness: Freshness.LEASED });
      expect(known.secretExpireTime?.getTime()).toBe(
        Number(asked.secretExpireTime?.seconds) * 1000 + Math.floor((asked.secretExpireTime?.nanos ?? 0) / 1e6),
      );
    }
  });

  it("asks about texts that are not secrets and unknown secrets, and keeps no entry", async () => {
    const { url, adminToken, admin } = claviger();
    const { secret } = await makeKey(admin, { owner: "sdk" });
    const verifier = await attach(url, adminToken);
    for (const [presented, verdict] of [
      ["", Verdict.MALFORMED],
      [mistype(secret), Verdict.MALFORMED],
      [forge(secret), Verdict.UNKNOWN],
    ] as const) {
      expect((await verifier.verify(presented)).verdict).toBe(verdict);
      expect(verifier.verifySync(presented)).toBe("ask");
    }
  });

  it("refuses a kept key once RevokeKey has returned", async () => {
    const { url, adminToken, admin } = claviger();
    const made = await makeKey(admin, { owner: "sdk" });
    const verifier = await attach(url, adminToken);
    expect((await fromMemory(verifier, made.secret)).verdict).toBe(Verdict.VALID);
    const { receipt } = await admin.keys.revokeKey({ keyId: made.id });
    expect(receipt?.expiredVerifierCount).toBe(0);
    expect(verifier.verifySync(made.secret)).toBe("ask");
    expect((await verifier.verify(made.secret)).verdict).toBe(Verdict.REVOKED);
    expect((await fromMemory(verifier, made.secret)).verdict).toBe(Verdict.REVOKED);
  });

  it("applies every other change: disabling, enabling, scopes, a rotation and the end of its grace period", async () => {
    const { url, adminToken, admin } = claviger();
    const made = await makeKey(admin, { owner: "sdk", scopes: ["a"] });
    const verifier = await attach(url, adminToken);
    const verdict = async () => nameOf(Verdict, (await verifier.verify(made.secret, { scopes: ["a"] })).verdict);
    const update = (key: object, ...paths: string[]) =>
      admin.keys.updateKey({ key: { id: made.id, ...key }, updateMask: { paths } });
    expect(await verdict()).toBe("VALID");
    await update({ disabled: true }, "disabled");
    expect(await verdict()).toBe("DISABLED");
    expect(await verdict()).toBe("DISABLED");
    // Nothing waits for a change that takes no validity away.
    await update({ disabled: false }, "disabled");
    await eventually(async () => expect(await verdict()).toBe("VALID"));
    await update({ scopes: ["b"] }, "scopes");
    expect(await verdict()).toBe("SCOPE_MISSING");
    await update({ scopes: ["a"] }, "scopes");
    expect(await verdict()).toBe("VALID");
    await admin.keys.rotateKey({ keyId: made.id, gracePeriod: durationFromMs(1000) });
    const retiring = async () => await verifier.verify(made.secret, { scopes: ["a"] });
    await eventually(async () => expect((await retiring()).retireTime).toBeInstanceOf(Date));
    await eventually(async () => expect(await verdict()).toBe("RETIRED"));
  });

  it("rejects a wrong question, and goes on", async () => {
    const { url, adminToken, admin } = claviger();
    const { secret } = await makeKey(admin, { owner: "sdk", allowedCidrs: ["10.0.0.0/8"] });
    const verifier = await attach(url, adminToken);
    await verifier.verify(secret);
    const wrong: [string, Question][] = [
      ["x".repeat(4097), {}],
      [secret, { clientIp: "nowhere" }],
      [secret, { cost: -1 }],
      [secret, { method: "no method" }],
      [secret, { method: `/a/${"b".repeat(256)}` }],
      [forge(secret), { scopes: ["*"] }],
      [forge(secret), { scopes: Array.from({ length: 65 }, (_, at) => `s${at}`) }],
    ];
    for (const [presented, question] of wrong) {
      expect(await codeOf(verifier.verify(presented, question)), JSON.stringify(question)).toBe(Code.InvalidArgument);
    }
    // A lease of 400 ms lapses while a busy machine compiles the rules.
    await eventually(() => expect(verifier.fresh).toBe(true));
  });

  it("is cut off when its own key is revoked, and reports it", async () => {
    const { url, admin } = claviger();
    const own = await makeKey(admin, { owner: "agents", scopes: ["claviger:verify"] });
    const { secret } = await makeKey(admin, { owner: "sdk" });
    const broken: unknown[] = [];
    const verifier = await attach(url, own.secret, { onBroken: (error) => broken.push(error) });
    await verifier.verify(secret);
    await admin.keys.revokeKey({ keyId: own.id });
    expect(await codeOf(verifier.verify(forge(secret)))).toBe(Code.Unauthenticated);
    await eventually(() => expect(verifier.fresh).toBe(false));
    expect(broken[0]).toMatchObject({ code: Code.Unauthenticated });
    expect(await codeOf(verifier.verify(secret))).toBe(Code.Unauthenticated);
  });

  it("answers nothing after close", async () => {
    const { url, adminToken, admin } = claviger();
    const { secret } = await makeKey(admin, { owner: "sdk" });
    const verifier = await attach(url, adminToken);
    await fromMemory(verifier, secret);
    const closed = verifier.close();
    // Nor while it sends what was counted: nobody would count it.
    expect(verifier.verifySync(secret)).toBe("ask");
    await closed;
    expect(verifier.verifySync(secret)).toBe("ask");
    expect(await codeOf(verifier.verify(secret))).toBe(Code.Unavailable);
  });
});

it.each<[string, VerifierOptions, RegExp]>([
  ["without an address of a server", { url: [], token: "t" }, /url has no address\. Pass http:\/\/host:port, or leave/],
  ["with an invalid address", { url: "127.0.0.1:4640", token: "t" }, /invalid server URL\. Write it as http:/],
  ["without a key", { url: "http://127.0.0.1:4640", token: "" }, /token is missing\. Pass .* or set CLAVIGER_TOKEN/],
])("createVerifier %s throws, and the error says what to do", (_, options, message) => {
  expect(() => createVerifier(options)).toThrow(message);
});

it.each(["http://127.0.0.1:4640/api", "http://127.0.0.1:4640/?a=b", "http://127.0.0.1:4640/#a"])(
  "createVerifier rejects %s, which could never work",
  (url) => {
    expect(() => createVerifier({ url, token: "t" })).toThrow(/Write it as http:\/\/127\.0\.0\.1:4640$/);
  },
);

it("a verifier whose key file is missing from the start reports that, and no failure of servers", async () => {
  const problems: string[] = [];
  const onProblem = ({ message }: Error) => void problems.push(message);
  const token = fromFile("/nowhere/key", { onProblem });
  const verifier = createVerifier({ url: "http://127.0.0.1:1", token });
  closing.push(async () => token.close());
  closing.push(() => verifier.close());
  const secret = writeSecretForm("clv_live_", Buffer.alloc(32, 1));
  const error = await verifier.verify(secret).catch((error: unknown) => error);
  expect(error).toMatchObject({
    code: Code.Unavailable,
    message: expect.stringContaining("/nowhere/key cannot be read"),
  });
  expect((error as ConnectError).findDetails(ErrorInfoSchema)[0]?.reason).toBe("VERIFIER_MISCONFIGURED");
  expect(problems).toEqual([expect.stringContaining("/nowhere/key cannot be read (ENOENT)")]);
});

describe("a server that stops", () => {
  it("gets its leases back, and exits before they run out", async () => {
    const claviger = await startClaviger("embedded", { CLAVIGER_LEASE_MS: "20000" });
    const { secret } = await makeKey(claviger.admin, { owner: "sdk" });
    const verifier = await attach(claviger.url, claviger.adminToken);
    await verifier.verify(secret);
    const began = performance.now();
    await claviger.close();
    expect(performance.now() - began).toBeLessThan(10_000);
    expect([verifier.fresh, verifier.verifySync(secret)]).toEqual([false, "ask"]);
    expect(await codeOf(verifier.verify(secret))).toBe(Code.Unavailable);
  });
});
