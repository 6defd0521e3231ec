import { create } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import { beforeEach, describe, expect, it } from "vitest";
import { type Answer, AnswerSchema, Freshness, Verdict, type VerifyRequest } from "#gen/claviger/v1/key_verifier_pb.js";
import type { Use } from "../usage/recorder.ts";
import { FakeClocks } from "../verify/fake-clocks.ts";
import { Lease } from "../verify/lease.ts";
import { SecretCache } from "../verify/secret-cache.ts";
import { type About, InProcessVerifier } from "./in-process-verifier.ts";
import { LinkBroken } from "./sync-link.ts";
import type { Verification } from "./verification.ts";

const KEY = "key_a";
const CALLED = { verdict: Verdict.UNKNOWN } as Verification;

let clocks: FakeClocks;
let cache: SecretCache<About>;
let questions: { readonly secret: string; answer(answer: Answer): void; fail(error: unknown): void }[];
let calls: string[];
let uses: Use[];
let isAttached: boolean;
let serverCount: number;
let verifier: InProcessVerifier;

beforeEach(() => {
  clocks = new FakeClocks();
  const lease = new Lease(clocks);
  lease.grant({ monotonicMs: clocks.monotonicMs(), wallMs: clocks.wallMs() }, 60_000);
  const random = (bytes: number) => new Uint8Array(bytes);
  cache = new SecretCache<About>({ lease, clocks, random, capacity: 1000, maxAgeMs: 300_000 });
  [questions, calls, uses, isAttached, serverCount] = [[], [], [], true, 1];
  verifier = new InProcessVerifier({
    ...{ lease, cache, clocks, timers: clocks, clockRateError: 0.02, reportEveryMs: 1000, closeMs: 3000 },
    pause: async () => undefined,
    link: {
      ...{ start: () => undefined, close: () => undefined, appliedRevision: 9 },
      get isAttached() {
        return isAttached;
      },
      ask: ({ secret }: VerifyRequest) =>
        new Promise<Answer>((answer, fail) => questions.push({ secret, answer, fail })),
    },
    recorder: { record: (use) => uses.push(use) },
    flusher: { flush: async () => undefined, isEmpty: true },
    servers: {
      get count() {
        return serverCount;
      },
      verify: async ({ secret }) => {
        calls.push(secret);
        return CALLED;
      },
      close: () => undefined,
    },
  });
});

/** What a server says of a good key, to be kept for so long. */
function good(freshMs: number): Answer {
  const response = { verdict: Verdict.VALID, key: { id: KEY, owner: "o", secretVersion: 2, scopes: ["a"] } };
  const entry = { standing: Verdict.VALID, freshFor: durationFromMs(freshMs), usageProof: Buffer.from([7, 200]) };
  const result = { case: "response" as const, value: { ...response, freshness: Freshness.LEASED, revision: 4n } };
  return create(AnswerSchema, { id: 1n, result, entry });
}

const settled = () => new Promise((resolve) => setImmediate(resolve));

describe("a verifier inside an agent", () => {
  it("keeps what it is told to for the time that is told, from before it asked, and early", async () => {
    const asked = verifier.verify("s");
    clocks.stall(300);
    questions[0]?.answer(good(1000));
    expect(await asked).toMatchObject({ verdict: Verdict.VALID, revision: 4 });
    expect(verifier.verifySync("s", { scopes: ["a"] })).toMatchObject({ verdict: Verdict.VALID, revision: 9 });
    expect(uses).toMatchObject([{ keyId: KEY, version: 2, proof: "\u{7}\u{c8}" }]);
    clocks.stall(Math.floor(1000 * (0.98 / 1.02)) - 301);
    expect(verifier.verifySync("s")).not.toBe("ask");
    clocks.stall(1);
    expect(verifier.verifySync("s")).toBe("ask");
  });

  it("keeps nothing that it was not told to, or that a change has overtaken", async () => {
    const work: ((at: number) => void)[] = [
      (at) => {
        const answer = good(1000);
        delete answer.entry;
        questions[at]?.answer(answer);
      },
      (at) => {
        cache.apply([KEY]);
        questions[at]?.answer(good(1000));
      },
      (at) => {
        cache.clear();
        questions[at]?.answer(good(1000));
      },
    ];
    for (const [at, answer] of work.entries()) {
      const asked = verifier.verify("s");
      answer(at);
      expect((await asked).verdict).toBe(Verdict.VALID);
      expect(verifier.verifySync("s")).toBe("ask");
    }
  });

  it("counts what it answers from memory, with its verdict, and nothing that its server has answered", async () => {
    const asked = verifier.verify("s", { method: "/a.B/C" });
    questions[0]?.answer(good(1000));
    await asked;
    expect(uses).toEqual([]);
    verifier.verifySync("s", { method: "/a.B/C", cost: 3 });
    verifier.verifySync("s", { scopes: ["b"], cost: 3 });
    expect(uses).toMatchObject([
      { keyId: KEY, version: 2, verdict: "valid", method: "/a.B/C", cost: 3 },
      { keyId: KEY, version: 2, verdict: "scope_missing", method: "", cost: 0 },
    ]);
  });

  it("calls a server where there is no stream, and where the stream breaks before the answer", async () => {
    const asked = verifier.verify("s");
    questions[0]?.fail(new LinkBroken("cut"));
    expect(await asked).toBe(CALLED);
    isAttached = false;
    expect(await verifier.verify("t")).toBe(CALLED);
    expect([calls, questions.length]).toEqual([["s", "t"], 1]);
  });

  it("calls another server, if there is one, when its own could not decide; never when that refused the question", async () => {
    serverCount = 2;
    for (const [at, code] of [Code.Unavailable, Code.InvalidArgument].entries()) {
      const asked = verifier.verify("s").catch((error: unknown) => error);
      questions[at]?.answer(create(AnswerSchema, { result: { case: "refusal", value: { code, message: "m" } } }));
      expect(await asked).toMatchObject(code === Code.Unavailable ? CALLED : { code });
    }
    expect(calls).toEqual(["s"]);
  });

  it("passes on, with its details, what the only server could not decide", async () => {
    const asked = verifier.verify("s").catch((error: unknown) => error);
    const value = { code: Code.Unavailable, message: "away", details: [{ typeUrl: "type.googleapis.com/a.B" }] };
    questions[0]?.answer(create(AnswerSchema, { result: { case: "refusal", value } }));
    const error = (await asked) as ConnectError;
    expect(error).toBeInstanceOf(ConnectError);
    expect([error.code, error.rawMessage, error.details[0]]).toMatchObject([Code.Unavailable, "away", { type: "a.B" }]);
    expect(calls).toEqual([]);
  });

  it("asks a hundred questions at once at most; who waited is answered from what was learnt meanwhile", async () => {
    const crowd = Array.from({ length: 250 }, (_, at) => verifier.verify(at < 100 ? `s${at}` : "s0"));
    await settled();
    expect(questions).toHaveLength(100);
    for (const { answer } of questions) answer(good(1000));
    expect(new Set((await Promise.all(crowd)).map(({ verdict }) => verdict))).toEqual(new Set([Verdict.VALID]));
    expect([questions.length, uses.length]).toEqual([100, 150]);
  });
});
