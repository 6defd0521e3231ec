import { beforeEach, describe, expect, it } from "vitest";
import { FakeClocks } from "../../../testkit/fakes/fake-clocks.ts";
import { fakeCached } from "../../../testkit/fakes/fake-found.ts";
import type { UsageBatch } from "../../keys/usage-delta.ts";
import { type Appended, UsageFlusher } from "../../usage/flusher.ts";
import { UsageRecorder } from "../../usage/recorder.ts";
import { Lease } from "../../verify/lease.ts";
import { SecretCache } from "../../verify/secret-cache.ts";
import type { PreparedAnswer } from "./cached-answer.ts";
import { InProcessVerifier } from "./in-process-verifier.ts";
import { troubleOf } from "./trouble.ts";
import { UsageReporter } from "./usage-reporter.ts";

const REPORT_MS = 1000;
const CLOSE_MS = 3000;
const random = (bytes: number) => new Uint8Array(bytes).fill(7);
const noServer = { count: 1, verify: () => Promise.reject(new Error("no server")), close: () => undefined };

let clocks: FakeClocks;
let verifier: InProcessVerifier;
/** What came in, and what answers it; each report waits for its answer. */
let reports: { readonly count: number; readonly settle: PromiseWithResolvers<Appended> }[];
let isBroken: boolean;
let hungUpAfter: number | undefined;

beforeEach(() => {
  clocks = new FakeClocks();
  reports = [];
  isBroken = false;
  hungUpAfter = undefined;
  const lease = new Lease(clocks);
  const cache = new SecretCache<PreparedAnswer>({ lease, clocks, random, capacity: 3, maxAgeMs: 60_000 });
  const recorder = new UsageRecorder({ clocks, budgetBytes: 10_000 });
  const append = ({ deltas }: UsageBatch) => {
    const settle = Promise.withResolvers<Appended>();
    reports.push({ count: deltas.reduce((sum, { count }) => sum + count, 0), settle });
    if (isBroken) settle.reject(new Error("the stream broke"));
    return settle.promise;
  };
  const nothing = () => undefined;
  const flusher = new UsageFlusher({ recorder, ledger: { append }, random, clocks, batchRows: 10 });
  const pause = (ms: number) => new Promise<void>((done) => void clocks.after(ms, done));
  verifier = new InProcessVerifier({
    warnings: { met: troubleOf, tokenExpireTime: undefined },
    holdProcess: () => () => undefined,
    link: {
      ...{ start: nothing, isAttached: false, appliedRevision: 1, ask: () => Promise.reject(new Error("no stream")) },
      close: () => {
        hungUpAfter = reports.length;
      },
    },
    reporter: new UsageReporter({ flusher, clocks, timers: clocks, pause, everyMs: REPORT_MS }),
    ...{ lease, cache, recorder, clocks, timers: clocks, clockRateError: 0.02, servers: noServer },
    timeoutMs: CLOSE_MS,
    forms: { isSecret: () => true, isKeyId: () => true },
    pause,
  });
  lease.grant({ monotonicMs: clocks.monotonicMs(), wallMs: clocks.wallMs() }, 60_000);
  cache.keep(cache.beginFill(cache.placeOf("s")), {
    ...fakeCached("key_a", { revision: 1 }),
    about: { key: undefined, secretExpireTime: undefined, retireTime: undefined, usageProof: "" },
  });
  verifier.start();
});

const sent = () => reports.map(({ count }) => count);

describe("a verifier that is closed", () => {
  it("sends the counts since the last report began, and then closes the link", async () => {
    verifier.verifySync("s");
    await clocks.pass(REPORT_MS);
    for (let i = 0; i < 2; i++) verifier.verifySync("s");
    const closed = verifier.close();
    reports[0]?.settle.resolve("taken");
    await clocks.pass(CLOSE_MS / 10);
    expect([sent(), hungUpAfter]).toEqual([[1, 2], undefined]);
    reports[1]?.settle.resolve("taken");
    await closed;
    expect(hungUpAfter).toBe(2);
  });

  it("answers nothing from memory while it sends, because the answer would not be counted", async () => {
    verifier.verifySync("s");
    const closed = verifier.close();
    expect([verifier.fresh, verifier.verifySync("s")]).toEqual([false, "ask"]);
    reports[0]?.settle.resolve("taken");
    await closed;
    expect(sent()).toEqual([1]);
  });

  it("repeats a report that a broken stream may have lost, until its time is over", async () => {
    isBroken = true;
    verifier.verifySync("s");
    const closed = verifier.close();
    await clocks.pass(CLOSE_MS + 100);
    await closed;
    expect(reports.length).toBeGreaterThan(2);
    expect(hungUpAfter).toBe(reports.length);
  });
});
