import { create } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import { beforeEach, describe, expect, it } from "vitest";
import {
  type Answer,
  AnswerSchema,
  Freshness,
  Verdict,
  type VerifyRequest,
  type VerifyResponse,
} from "#gen/claviger/v1/key_verifier_pb.js";
import { FakeClocks } from "../../../testkit/fakes/fake-clocks.ts";
import type { Use } from "../../usage/recorder.ts";
import { Lease } from "../../verify/lease.ts";
import { SecretCache } from "../../verify/secret-cache.ts";
import type { Question, Verification } from "../verification.ts";
import type { PreparedAnswer } from "./cached-answer.ts";
import { InProcessVerifier } from "./in-process-verifier.ts";
import { LinkBrokenError } from "./pending-requests.ts";
import { troubleOf } from "./trouble.ts";

const KEY = "key_a";
const CALLED = { verdict: Verdict.UNKNOWN } as Verification;

let clocks: FakeClocks;
let cache: SecretCache<PreparedAnswer>;
let questions: {
  readonly secret: string;
  readonly withinMs: number;
  answer(answer: Answer): void;
  fail(error: unknown): void;
}[];
let calls: string[];
let withins: number[];
let uses: Use[];
let isAttached: boolean;
let serverCount: number;
let verifier: InProcessVerifier;

beforeEach(() => {
  clocks = new FakeClocks();
  const lease = new Lease(clocks);
  lease.grant({ monotonicMs: clocks.monotonicMs(), wallMs: clocks.wallMs() }, 60_000);
  const random = (bytes: number) => new Uint8Array(bytes);
  cache = new SecretCache<PreparedAnswer>({ lease, clocks, random, capacity: 1000, maxAgeMs: 300_000 });
  [questions, calls, withins, uses, isAttached, serverCount] = [[], [], [], [], true, 1];
  verifier = new InProcessVerifier({
    ...{ lease, cache, clocks, timers: clocks, clockRateError: 0.02, timeoutMs: 3000 },
    forms: { isSecret: (text) => !text.startsWith("garbage"), isKeyId: (text) => text.startsWith("key_") },
    pause: async () => undefined,
    warnings: { met: troubleOf, tokenExpireTime: undefined },
    holdProcess: () => () => undefined,
    link: {
      ...{ start: () => undefined, close: () => undefined, appliedRevision: 9 },
      get isAttached() {
        return isAttached;
      },
      ask: ({ secret }: VerifyRequest, withinMs: number) =>
        new Promise<Answer>((answer, fail) => questions.push({ secret, withinMs, answer, fail })),
    },
    recorder: { record: (use) => uses.push(use) },
    reporter: { start: () => undefined, end: async () => undefined },
    servers: {
      get count() {
        return serverCount;
      },
      verify: async ({ secret }, withinMs) => {
        calls.push(secret);
        withins.push(withinMs);
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

const FAR = { $typeName: "google.protobuf.Timestamp", seconds: 9_000_000_000_000n, nanos: 0 };

function responseIn({ result }: Answer): VerifyResponse {
  if (result.case !== "response") throw new Error("it is no response");
  return result.value;
}

function set(message: object | undefined, fields: object): void {
  Object.assign(message ?? {}, fields);
}

const settled = () => new Promise((resolve) => setImmediate(resolve));

describe("a verifier inside an agent", () => {
  it("keeps an entry for its time from before the question, and ends it early", async () => {
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

  it("keeps no answer without an entry, and none that a change has overtaken", async () => {
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

  it("counts its answers from memory with their verdict, and no answers of the server", async () => {
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

  it("answers MALFORMED to garbage without a server or a lease", async () => {
    isAttached = false;
    const garbage = Array.from({ length: 20_000 }, (_, at) => verifier.verify(`garbage${at}`));
    const asked = verifier.verify("s");
    expect(new Set((await Promise.all(garbage)).map(({ verdict, revision }) => `${verdict} ${revision}`))).toEqual(
      new Set([`${Verdict.MALFORMED} 0`]),
    );
    expect(await asked).toBe(CALLED);
    expect([calls, questions.length, uses]).toEqual([["s"], 0, []]);
  });

  it("asks about the empty secret, as a health check does", async () => {
    isAttached = false;
    expect(await verifier.verify("")).toBe(CALLED);
  });

  it("answers a good key within its time while another address sends 20,000 forged secrets", async () => {
    const flood = Array.from({ length: 20_000 }, (_, at) =>
      verifier.verify(`forged${at}`, { clientIp: "192.0.2.66" }).catch((error: unknown) => error),
    );
    const asked = verifier.verify("s", { clientIp: "192.0.2.1" });
    await settled();
    expect(questions).toHaveLength(100);
    // One more of the flood has its turn, and the good key is next.
    for (const { answer } of questions.slice(0, 2)) {
      answer(create(AnswerSchema, { result: { case: "response", value: { verdict: Verdict.UNKNOWN } } }));
    }
    await settled();
    expect(questions.at(-1)?.secret).toBe("s");
    questions.at(-1)?.answer(good(1000));
    expect((await asked).verdict).toBe(Verdict.VALID);
    await clocks.pass(3000);
    for (const { fail } of questions) fail(new LinkBrokenError("cut"));
    const outcomes = await Promise.all(flood);
    const refused = outcomes.filter((outcome) => outcome instanceof ConnectError);
    expect(refused.length).toBeGreaterThan(18_000);
    expect(new Set(refused.map(({ code }) => code))).toEqual(new Set([Code.Unavailable]));
  });

  it("gives the stream half of a question's time, and calls with the rest", async () => {
    const asked = verifier.verify("s");
    expect(questions[0]?.withinMs).toBe(1500);
    clocks.stall(1500);
    questions[0]?.fail(new LinkBrokenError("no answer"));
    await asked;
    expect(withins).toEqual([1500]);
  });

  it.each<[string, (answer: Answer) => void]>([
    ["another standing than its verdict", (answer) => set(answer.entry, { standing: Verdict.REVOKED })],
    [
      "a verdict against the key and a good standing",
      (answer) => set(responseIn(answer), { verdict: Verdict.REVOKED }),
    ],
    ["a denied address and no addresses", (answer) => set(responseIn(answer), { verdict: Verdict.ADDRESS_DENIED })],
    ["a missing scope that the key has", (answer) => set(responseIn(answer), { verdict: Verdict.SCOPE_MISSING })],
    ["no key", (answer) => set(responseIn(answer), { verdict: Verdict.REVOKED, key: undefined })],
    ["a key whose id is none", (answer) => set(responseIn(answer).key, { id: "nothing" })],
    ["a secret of no version", (answer) => set(responseIn(answer).key, { secretVersion: 0 })],
    ["a standing of a later version", (answer) => set(answer.entry, { standing: 99 })],
    ["no time", (answer) => set(answer.entry, { freshFor: undefined })],
    ["a time below zero", (answer) => set(answer.entry, { freshFor: durationFromMs(-1000) })],
    ["addresses that are none", (answer) => set(answer.entry, { allowedCidrs: ["not a cidr"] })],
  ])("keeps no entry with %s", async (_, spoil) => {
    const asked = verifier.verify("s", { scopes: ["a"], clientIp: "192.0.2.1" }).catch((error: unknown) => error);
    const answer = good(1000);
    spoil(answer);
    questions[0]?.answer(answer);
    await asked;
    expect(verifier.verifySync("s", { scopes: ["a"], clientIp: "192.0.2.1" })).toBe("ask");
  });

  it.each<[string, (answer: Answer) => void]>([
    ["a retirement in the year 300000", (answer) => set(responseIn(answer), { retireTime: FAR })],
    ["an end in the year 300000", (answer) => set(responseIn(answer), { secretExpireTime: FAR })],
    ["VALID and no key", (answer) => set(responseIn(answer), { key: undefined })],
    ["neither a response nor a refusal", (answer) => set(answer, { result: { case: undefined } })],
  ])("rejects an answer with %s", async (_, spoil) => {
    const asked = verifier.verify("s").catch((error: unknown) => error);
    const answer = good(1000);
    spoil(answer);
    questions[0]?.answer(answer);
    expect(await asked).toMatchObject({ code: Code.Internal, message: expect.stringContaining("cannot be read") });
    expect(verifier.verifySync("s")).toBe("ask");
  });

  it.each<[string, unknown]>([
    ["a misspelt name", { scope: ["b"] }],
    ["a string for scopes", { scopes: "b" }],
    ["null for scopes", { scopes: null }],
    ["a wildcard", { scopes: ["*"] }],
    ["a scope that is none", { scopes: ["Not A Scope"] }],
    ["an empty scope", { scopes: [""] }],
    ["a list of lists", { scopes: [["b"]] }],
    ["too many scopes", { scopes: Array.from({ length: 65 }, () => "a") }],
    ["a method that is none", { method: "GET /" }],
    ["a method that is no text", { method: 5 }],
    ["a cost below zero", { cost: -1 }],
    ["a cost that is no number", { cost: "1" }],
    ["a string", "b"],
    ["a list", ["b"]],
  ])("rejects a question with %s, whether or not the key is in memory", async (_, wrong) => {
    const question = wrong as Question;
    const refused = { code: Code.InvalidArgument };
    expect(await verifier.verify("s", question).catch((error: unknown) => error)).toMatchObject(refused);
    const asked = verifier.verify("s");
    questions[0]?.answer(good(1000));
    await asked;
    expect(verifier.verifySync("s")).not.toBe("ask");
    expect(verifier.verifySync("s", question)).toBe("ask");
    expect(await verifier.verify("s", question).catch((error: unknown) => error)).toMatchObject(refused);
    expect(questions).toHaveLength(1);
  });

  it("calls a server if there is no stream, and if the stream breaks before the answer", async () => {
    const asked = verifier.verify("s");
    questions[0]?.fail(new LinkBrokenError("cut"));
    expect(await asked).toBe(CALLED);
    isAttached = false;
    expect(await verifier.verify("t")).toBe(CALLED);
    expect([calls, questions.length]).toEqual([["s", "t"], 1]);
  });

  it("calls another server if its own could not decide, but not if its own refused the question", async () => {
    serverCount = 2;
    for (const [at, code] of [Code.Unavailable, Code.InvalidArgument].entries()) {
      const asked = verifier.verify("s").catch((error: unknown) => error);
      questions[at]?.answer(create(AnswerSchema, { result: { case: "refusal", value: { code, message: "m" } } }));
      expect(await asked).toMatchObject(code === Code.Unavailable ? CALLED : { code });
    }
    expect(calls).toEqual(["s"]);
  });

  it("returns the error of the only server with its details", async () => {
    const asked = verifier.verify("s").catch((error: unknown) => error);
    const value = { code: Code.Unavailable, message: "away", details: [{ typeUrl: "type.googleapis.com/a.B" }] };
    questions[0]?.answer(create(AnswerSchema, { result: { case: "refusal", value } }));
    const error = (await asked) as ConnectError;
    expect(error).toBeInstanceOf(ConnectError);
    expect([error.code, error.rawMessage, error.details[0]]).toMatchObject([Code.Unavailable, "away", { type: "a.B" }]);
    expect(calls).toEqual([]);
  });

  it("asks at most a hundred questions at once, and answers waiting ones from new entries", async () => {
    const crowd = Array.from({ length: 250 }, (_, at) => verifier.verify(at < 100 ? `s${at}` : "s0"));
    await settled();
    expect(questions).toHaveLength(100);
    for (const { answer } of questions) answer(good(1000));
    expect(new Set((await Promise.all(crowd)).map(({ verdict }) => verdict))).toEqual(new Set([Verdict.VALID]));
    expect([questions.length, uses.length]).toEqual([100, 150]);
  });
});
