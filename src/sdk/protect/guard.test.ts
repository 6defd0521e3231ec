import { inspect } from "node:util";
import { Code, ConnectError } from "@connectrpc/connect";
import { beforeEach, describe, expect, test } from "vitest";
import { Verdict } from "#gen/claviger/v1/key_verifier_pb.js";
import { clientIpOf } from "../../system/addresses.ts";
import { ANY_KEY, type MethodAccess } from "../../wire/access.ts";
import { readCredential } from "../../wire/credential.ts";
import { explainedError } from "../../wire/errors.ts";
import { FakeVerifier } from "../testing/fake-verifier.ts";
import { type Admission, type Arrival, createGuard } from "./guard.ts";
import type { KeyOptions } from "./key-options.ts";

let verifier: FakeVerifier;

beforeEach(() => {
  verifier = new FakeVerifier();
});

interface Asked {
  readonly options?: KeyOptions<string>;
  readonly access?: MethodAccess;
  /** The same object for the guards of one call. */
  readonly carrier?: object;
}

/** What becomes of a call that presents `keys` in x-api-key. */
function call(keys: readonly string[], { options = {}, ...asked }: Asked = {}): Admission | Promise<Admission> {
  return createGuard(verifier, options)(arrivalOf(keys, asked));
}

function arrivalOf(keys: readonly string[], { access = ANY_KEY, carrier = {} }: Asked = {}): Arrival<string> {
  return {
    call: "a call",
    carrier,
    takeCredential: () => readCredential({ authorization: [], apiKey: keys }),
    method: () => "/a.B/C",
    peer: "192.0.2.1:1",
    access: () => access,
  };
}

/** The owner who is let in, `nobody`, or the reason of the refusal. */
async function outcome(keys: readonly string[], asked: Asked = {}): Promise<string> {
  const admission = await call(keys, asked);
  if ("refusal" in admission) return admission.refusal.reason;
  return admission.principal?.key.owner ?? "nobody";
}

describe("a decision about a call", () => {
  test("is immediate when the verifier answers from memory, and a promise otherwise", () => {
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
  ])("is right for the requirements %j", async (asked, expected) => {
    const good = verifier.addKey("alice");
    expect({
      none: await outcome([], asked),
      good: await outcome([good], asked),
      bad: await outcome(["clv_live_typo"], asked),
    }).toEqual(expected);
  });

  test("never contains the secret", async () => {
    const secret = verifier.addKey("alice");
    const told: unknown[] = [inspect(readCredential({ authorization: [`Bearer ${secret}`], apiKey: [] }))];
    const look = async () => {
      const admission = await call([secret]);
      told.push(inspect(admission, { depth: 9 }), JSON.stringify(admission));
      if ("refusal" in admission) told.push(inspect(explainedError(admission.refusal), { depth: 9 }));
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

  test("is a refusal and never an exception, whatever is thrown", async () => {
    const secret = verifier.addKey("alice");
    const thrower = () => {
      throw new Error("a defect");
    };
    for (const options of [{ scopes: thrower }, { anonymous: thrower }, { clientIp: thrower }])
      expect(await outcome([secret], { options })).toBe("INTERNAL");
    verifier.verifySync = thrower;
    expect(await outcome([secret])).toBe("INTERNAL");
  });

  test("refuses a VALID answer without a key", async () => {
    const secret = verifier.addKey("alice");
    const decide = verifier.verifySync.bind(verifier);
    verifier.verifySync = (...asked) => {
      const answer = decide(...asked);
      return answer === "ask" ? answer : { ...answer, key: undefined };
    };
    expect(await outcome([secret])).toBe("INTERNAL");
  });
});

describe("a call that passes a second guard", () => {
  const scopes = () => ["orders:write"];

  test("is verified again with the same key and the guard's own scopes, and is charged once", async () => {
    const [alice, bob] = [verifier.addKey("alice", { scopes: ["orders:*"] }), verifier.addKey("bob")];
    for (const [secret, second] of [
      [alice, "alice"],
      [bob, "PERMISSION_DENIED"],
    ] as const) {
      const carrier = {};
      expect(await outcome([secret], { carrier })).not.toBe("CREDENTIAL_MISSING");
      verifier.asked.length = 0;
      expect(await outcome([], { carrier, options: { scopes } })).toBe(second);
      expect(verifier.asked).toMatchObject([{ secret, question: { scopes: ["orders:write"], cost: 0 } }]);
    }
  });

  test("is refused if its key was revoked in between", async () => {
    const [secret, carrier] = [verifier.addKey("alice"), {}];
    await call([secret], { carrier });
    verifier.keys.set(secret, { verdict: Verdict.REVOKED });
    expect(await outcome([], { carrier })).toBe("CREDENTIAL_INVALID");
  });

  test.each(["RATE_LIMITED", "QUOTA_EXHAUSTED"] as const)(
    "is let in although it took the last of its limit at the first: %s",
    async (limit) => {
      const [secret, carrier] = [verifier.addKey("alice"), {}];
      await call([secret], { carrier });
      verifier.keys.set(secret, { verdict: Verdict[limit] });
      expect(await outcome([], { carrier })).toBe("alice");
      expect(await outcome([secret])).toBe(limit);
    },
  );

  test("is charged again by the guard of another verifier", async () => {
    const [other, carrier] = [new FakeVerifier(), {}];
    await call([verifier.addKey("alice")], { carrier });
    const { asked } = verifier;
    verifier = other;
    expect(await outcome([], { carrier })).toBe("CREDENTIAL_INVALID");
    expect([asked, other.asked].map((each) => each.map(({ question }) => question.cost))).toEqual([
      [undefined],
      [undefined],
    ]);
  });

  test("needs a key although the first guard let it in without one", async () => {
    const carrier = {};
    expect(await outcome([], { carrier, options: { anonymous: () => true } })).toBe("nobody");
    expect(await outcome([], { carrier })).toBe("CREDENTIAL_MISSING");
  });

  test("does not show its key in a log of its carrier", async () => {
    const [secret, carrier] = [verifier.addKey("alice"), {}];
    await call([secret], { carrier });
    expect(inspect(carrier, { depth: 9 })).not.toContain(secret);
    expect(Object.keys(carrier)).toEqual([]);
  });
});

describe("a defect of the service's own functions", () => {
  let heard: Error[];
  const hear = (warning: Error) => void heard.push(warning);
  beforeEach(async () => {
    // What earlier tests have caused is heard in a later turn.
    await settled();
    heard = [];
    process.on("warning", hear);
    return () => void process.off("warning", hear);
  });
  const scopes = () => {
    throw new Error(`no scopes for clv_live_${"a".repeat(49)}`);
  };
  const settled = () => new Promise((resolve) => setImmediate(resolve));

  test("is a warning of the process, once, without a secret", async () => {
    const guard = createGuard<string>(verifier, { scopes });
    for (let turn = 0; turn < 3; turn++) await guard(arrivalOf([verifier.addKey("alice")]));
    await settled();
    expect(heard).toMatchObject([{ name: "ClavigerWarning", code: "CLAVIGER_DEFECT" }]);
    expect(heard[0]?.message).toMatch(/INTERNAL: Error: no scopes for clv_live_\[redacted\]\. Correct/);
  });

  test("goes to onUndecided instead, if there is one", async () => {
    const causes: unknown[] = [];
    await outcome([verifier.addKey("alice")], { options: { scopes, onUndecided: (cause) => causes.push(cause) } });
    await settled();
    expect([heard, causes]).toEqual([[], [expect.any(Error)]]);
  });

  test("is not an outage, of which the verifier itself warns", async () => {
    verifier.failure = new ConnectError("away", Code.Unavailable);
    await outcome([verifier.addKey("alice")]);
    await settled();
    expect(heard).toEqual([]);
  });
});

test.each([
  ["192.0.2.1", "192.0.2.1"],
  ["::ffff:192.0.2.1", "192.0.2.1"],
  ["2001:db8::1", "2001:db8::1"],
  ["fe80::1%eth0", "fe80::1"],
  ["192.0.2.1:443", "192.0.2.1"],
  ["[2001:db8::1]:443", "2001:db8::1"],
  ["[2001:db8::1]", "2001:db8::1"],
  ["[::ffff:192.0.2.1]:1", "192.0.2.1"],
])("%s is the address %s", (text, address) => {
  expect(clientIpOf(text)).toBe(address);
});

test.each([
  [undefined],
  [""],
  ["unknown"],
  ["192.0.2.1:"],
  ["192.0.2.1:x"],
  ["[192.0.2.1"],
  ["192.0.2.1, 192.0.2.2"],
  ["010.0.0.1"],
])("%s is not an address, and none is used", (text) => {
  expect(clientIpOf(text)).toBeUndefined();
});
