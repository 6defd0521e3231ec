import { Code, ConnectError } from "@connectrpc/connect";
import { beforeEach, describe, expect, test } from "vitest";
import { Verdict } from "#gen/claviger/v1/key_verifier_pb.js";
import { FakeClocks } from "../../../testkit/fakes/fake-clocks.ts";
import { ANY_KEY } from "../../wire/access.ts";
import { readCredential } from "../../wire/credential.ts";
import type { Refusal } from "../../wire/refusal.ts";
import { FakeVerifier } from "../testing/fake-verifier.ts";
import { createGuard } from "./guard.ts";
import { watchKey, watchSettings } from "./watch-key.ts";

const OUTAGE = new ConnectError("no lease", Code.Unavailable);

describe("the key of a stream", () => {
  let timers: FakeClocks;
  let verifier: FakeVerifier;
  let secret: string;
  let ends: Refusal[];
  let watch: { stop(): void };

  beforeEach(async () => {
    timers = new FakeClocks();
    verifier = new FakeVerifier();
    secret = verifier.addKey("alice");
    ends = [];
    const guard = createGuard(verifier, {});
    const admission = await guard({
      call: {},
      carrier: {},
      takeCredential: () => readCredential({ authorization: [], apiKey: [secret] }),
      method: () => undefined,
      peer: undefined,
      access: () => ANY_KEY,
    });
    if (!("recheck" in admission)) throw new Error("the key is good; correct the test");
    watch = watchKey(admission.recheck, watchSettings({ timers }), { onDead: (refusal) => ends.push(refusal) });
    verifier.asked.length = 0;
  });

  test("is verified again each minute, and charged nothing", async () => {
    await timers.pass(59_999);
    expect(verifier.asked).toEqual([]);
    await timers.pass(600_001);
    expect(verifier.asked).toHaveLength(11);
    expect(verifier.asked.every(({ question }) => question.cost === 0)).toBe(true);
    expect(ends).toEqual([]);
  });

  test.each([
    ["REVOKED", Code.Unauthenticated],
    ["DISABLED", Code.Unauthenticated],
    ["RETIRED", Code.Unauthenticated],
    ["EXPIRED", Code.Unauthenticated],
    ["ADDRESS_DENIED", Code.PermissionDenied],
    ["SCOPE_MISSING", Code.PermissionDenied],
  ] as const)("ends it within a minute once the verdict is %s, and is let go", async (verdict, code) => {
    verifier.keys.set(secret, { verdict: Verdict[verdict] });
    await timers.pass(60_000);
    expect(ends).toMatchObject([{ code }]);
    expect(timers.pending).toBe(0);
  });

  test.each(["RATE_LIMITED", "QUOTA_EXHAUSTED"] as const)(
    "does not end the stream for a limit, %s",
    async (verdict) => {
      verifier.keys.set(secret, { verdict: Verdict[verdict] });
      await timers.pass(600_000);
      expect(verifier.asked).toHaveLength(10);
      expect(ends).toEqual([]);
    },
  );

  test("is checked again each 5 s in an outage, and the stream goes on", async () => {
    verifier.failure = OUTAGE;
    await timers.pass(60_000 + 54_999);
    expect(verifier.asked).toHaveLength(11);
    expect(ends).toEqual([]);
    verifier.failure = undefined;
    await timers.pass(600_000);
    expect(ends).toEqual([]);
  });

  test("ends the stream with UNAVAILABLE after a minute of outage, and not before", async () => {
    verifier.failure = OUTAGE;
    await timers.pass(119_999);
    expect(ends).toEqual([]);
    await timers.pass(1);
    expect(ends).toMatchObject([{ code: Code.Unavailable }]);
    expect(timers.pending).toBe(0);
  });

  test("ends the stream also when the verifier hangs; a late answer changes nothing", async () => {
    let answer = (_: "late") => {};
    verifier.isForgetful = true;
    const decided = verifier.verify.bind(verifier);
    verifier.verify = async (...asked) => {
      await new Promise<"late">((resolve) => {
        answer = resolve;
      });
      return decided(...asked);
    };
    await timers.pass(120_000);
    expect(ends).toMatchObject([{ code: Code.Unavailable }]);
    answer("late");
    await new Promise((resolve) => setImmediate(resolve));
    expect(timers.pending).toBe(0);
    await timers.pass(600_000);
    expect(ends).toHaveLength(1);
    expect(timers.pending).toBe(0);
  });

  test("starts the minute again after an answer in between", async () => {
    for (let round = 0; round < 5; round++) {
      verifier.failure = OUTAGE;
      await timers.pass(60_000 + 50_000);
      verifier.failure = undefined;
      await timers.pass(5000);
    }
    expect(ends).toEqual([]);
    verifier.failure = OUTAGE;
    await timers.pass(60_000 + 60_000);
    expect(ends).toMatchObject([{ code: Code.Unavailable }]);
  });

  test("is not verified after the end of the stream", async () => {
    watch.stop();
    expect(timers.pending).toBe(0);
    await timers.pass(600_000);
    expect(verifier.asked).toEqual([]);
  });
});
