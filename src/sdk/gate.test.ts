import { inspect } from "node:util";
import { Code, ConnectError } from "@connectrpc/connect";
import { beforeEach, describe, expect, test } from "vitest";
import { Verdict } from "#gen/claviger/v1/key_verifier_pb.js";
import { ANY_KEY, type MethodAccess } from "./access.ts";
import { readCredential } from "./credential.ts";
import { FakeVerifier } from "./fake-verifier.ts";
import { type Admission, createGate } from "./gate.ts";
import type { KeyOptions } from "./key-options.ts";
import { toConnectError } from "./refusal-details.ts";

let verifier: FakeVerifier;

beforeEach(() => {
  verifier = new FakeVerifier();
});

interface Asked {
  readonly options?: KeyOptions<string>;
  readonly access?: MethodAccess;
}

/** What becomes of a call that presents `keys` in x-api-key. */
function call(keys: readonly string[], { options = {}, access = ANY_KEY }: Asked = {}): Admission | Promise<Admission> {
  const credential = readCredential({ authorization: [], apiKey: keys });
  const arrival = { call: "a call", credential, method: () => "/a.B/C", peer: "192.0.2.1:1", access: () => access };
  return createGate(verifier, options)(arrival);
}

/** The owner who is let in, `nobody`, or the reason of the refusal. */
async function outcome(keys: readonly string[], asked: Asked = {}): Promise<string> {
  const admission = await call(keys, asked);
  if ("refusal" in admission) return admission.refusal.reason;
  return admission.principal?.key.owner ?? "nobody";
}

describe("a decision about a call", () => {
  test("is there at once when the verifier answers from memory, and a promise otherwise", () => {
    const secret = verifier.addKey("alice");
    expect(call([secret])).not.toBeInstanceOf(Promise);
    verifier.isForgetful = true;
    expect(call([secret])).toBeInstanceOf(Promise);
  });

  test.each<[Asked, { none: string; good: string; bad: string }]>([
    [{}, { none: "CREDENTIAL_MISSING", good: "alice", bad: "CREDENTIAL_INVALID" }],
    [
      { access: { scopes: ["a"], anonymous: false } },
      { none: "CREDENTIAL_MISSING", good: "PERMISSION_DENIED", bad: "CREDENTIAL_INVALID" },
    ],
    [{ access: { scopes: [], anonymous: true } }, { none: "nobody", good: "alice", bad: "CREDENTIAL_INVALID" }],
    [
      { options: { anonymous: () => true }, access: { scopes: ["a"], anonymous: false } },
      { none: "nobody", good: "alice", bad: "CREDENTIAL_INVALID" },
    ],
    [
      { options: { anonymous: () => undefined, scopes: () => undefined }, access: { scopes: ["a"], anonymous: false } },
      { none: "CREDENTIAL_MISSING", good: "PERMISSION_DENIED", bad: "CREDENTIAL_INVALID" },
    ],
    [
      { options: { anonymous: () => false, scopes: () => [] }, access: { scopes: ["a"], anonymous: true } },
      { none: "CREDENTIAL_MISSING", good: "alice", bad: "CREDENTIAL_INVALID" },
    ],
  ])("where %j is asked", async (asked, expected) => {
    const good = verifier.addKey("alice");
    expect({
      none: await outcome([], asked),
      good: await outcome([good], asked),
      bad: await outcome(["clv_live_typo"], asked),
    }).toEqual(expected);
  });

  test("tells nobody the secret, whatever is decided", async () => {
    const secret = verifier.addKey("alice");
    const told: unknown[] = [inspect(readCredential({ authorization: [`Bearer ${secret}`], apiKey: [] }))];
    const look = async () => {
      const admission = await call([secret]);
      told.push(inspect(admission, { depth: 9 }), JSON.stringify(admission));
      if ("refusal" in admission) told.push(inspect(toConnectError(admission.refusal), { depth: 9 }));
    };
    for (const verdict of Object.values(Verdict)) {
      verifier.keys.set(secret, { verdict });
      await look();
    }
    for (const code of [Code.Unavailable, Code.InvalidArgument]) {
      verifier.failure = new ConnectError("no", code);
      await look();
    }
    expect(told.length).toBeGreaterThan(30);
    expect(told.filter((text) => String(text).includes(secret))).toEqual([]);
  });

  test("is a refusal, never an exception, whatever is thrown", async () => {
    const secret = verifier.addKey("alice");
    const thrower = () => {
      throw new Error("a defect");
    };
    for (const options of [{ scopes: thrower }, { anonymous: thrower }, { clientIp: thrower }])
      expect(await outcome([secret], { options })).toBe("INTERNAL");
    verifier.verifySync = thrower;
    expect(await outcome([secret])).toBe("INTERNAL");
  });

  test("lets nobody in as VALID without a key", async () => {
    const secret = verifier.addKey("alice");
    const decide = verifier.verifySync.bind(verifier);
    verifier.verifySync = (...asked) => {
      const answer = decide(...asked);
      return answer === "ask" ? answer : { ...answer, key: undefined };
    };
    expect(await outcome([secret])).toBe("INTERNAL");
  });
});
