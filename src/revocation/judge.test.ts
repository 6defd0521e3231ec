import { describe, expect, it } from "vitest";
import { waitingTime } from "../system/clocks.ts";
import { type BusAck, type Judgement, judge, type WaitFacts } from "./judge.ts";
import type { Holder } from "./lease-registry.ts";

const COMMITTED_MS = 1000;
/** Large, so that W is a whole number: 4500. */
const ERROR = 0.2;
const SLOW_MS = 250;
const W = waitingTime(3000, ERROR);

function holder(epoch: string, of: Partial<Holder> = {}): Holder {
  const row = { address: `http://${epoch}`, termMs: 3000, ackedRevision: 0, renewSeq: 1 };
  return { epoch, ...row, usesRevocationSet: false, isCollected: false, ...of };
}

function ack(atMs: number, waitedOutAgents = 0): BusAck {
  return { atMs: COMMITTED_MS + atMs, waitedOutAgents };
}

interface Case {
  readonly holders: readonly Holder[];
  readonly acked?: Readonly<Record<string, BusAck>>;
  readonly readMs?: Readonly<Record<string, number>>;
  /** Default: the epochs that are not collected. */
  readonly awaited?: readonly string[];
  readonly afterMs: number;
}

function judged({ holders, acked = {}, readMs = {}, awaited, afterMs }: Case): Judgement {
  const facts: WaitFacts = {
    change: { revision: 5, identity: "db", keyIds: ["key_a"] },
    committedMs: COMMITTED_MS,
    beganMs: COMMITTED_MS,
    holders,
    awaited: new Set(awaited ?? holders.flatMap(({ epoch, isCollected }) => (isCollected ? [] : [epoch]))),
    acked: new Map(Object.entries(acked)),
    readMs: new Map(Object.entries(readMs)),
  };
  return judge(facts, { nowMs: COMMITTED_MS + afterMs, clockRateError: ERROR, slowMs: SLOW_MS });
}

describe("a wait is pending", () => {
  it.each<[string, Case, leftMs: number]>([
    [
      "while one of two holders is silent",
      { holders: [holder("a"), holder("b")], acked: { a: ack(1) }, afterMs: 1 },
      W - 1,
    ],
    ["while the registry shows an earlier revision", { holders: [holder("a", { ackedRevision: 4 })], afterMs: 0 }, W],
    ["until the moment at which the lease is over", { holders: [holder("a")], afterMs: W - 1 }, 1],
    [
      "for the longest term among the silent holders",
      { holders: [holder("a", { termMs: 1000 }), holder("b", { termMs: 6000 })], afterMs: 0 },
      2 * W,
    ],
    [
      "for no term of a holder that has acknowledged",
      { holders: [holder("a"), holder("b", { termMs: 6000 })], acked: { b: ack(0) }, afterMs: 0 },
      W,
    ],
  ])("%s", (_, given, leftMs) => {
    const judgement = judged(given);
    expect(judgement.state).toBe("pending");
    expect(judgement.state === "pending" && judgement.leftMs).toBeCloseTo(leftMs, 6);
  });
});

describe("a wait has passed", () => {
  it.each<[string, Case, { confirmed: number; expired: number; isAcknowledgedByAll: boolean }]>([
    ["without holders", { holders: [], afterMs: 0 }, { confirmed: 0, expired: 0, isAcknowledgedByAll: true }],
    [
      "once each holder has acknowledged, on the bus or in the registry",
      { holders: [holder("a"), holder("b", { ackedRevision: 5 })], acked: { a: ack(1) }, afterMs: 1 },
      { confirmed: 2, expired: 0, isAcknowledgedByAll: true },
    ],
    [
      "once the lease of the silent holder is over",
      { holders: [holder("a"), holder("b")], acked: { a: ack(1) }, afterMs: W },
      { confirmed: 1, expired: 1, isAcknowledgedByAll: false },
    ],
    [
      "without a holder that was collected before it began",
      { holders: [holder("a", { isCollected: true })], afterMs: 0 },
      { confirmed: 0, expired: 0, isAcknowledgedByAll: false },
    ],
    [
      "once a holder is collected, which counts as waited out",
      { holders: [holder("a", { isCollected: true })], awaited: ["a"], afterMs: 1 },
      { confirmed: 0, expired: 1, isAcknowledgedByAll: false },
    ],
    [
      "with the agents that a node waited out",
      { holders: [holder("a")], acked: { a: ack(1, 3) }, afterMs: 1 },
      { confirmed: 1, expired: 3, isAcknowledgedByAll: true },
    ],
  ])("%s", (_, given, passed) => {
    expect(judged(given)).toMatchObject({
      state: "passed",
      passed: { ...passed, durationMs: given.afterMs, usesRevocationSet: false },
    });
  });

  it("and reports a holder that may answer from the revocation set", () => {
    const holders = [holder("a", { isCollected: true, usesRevocationSet: true })];
    expect(judged({ holders, afterMs: 0 })).toMatchObject({ passed: { usesRevocationSet: true } });
  });

  it.each<[string, Case, readonly object[]]>([
    ["no quick node", { holders: [holder("a")], acked: { a: ack(SLOW_MS - 1) }, afterMs: 400 }, []],
    [
      "a node that acknowledged late",
      { holders: [holder("a")], acked: { a: ack(SLOW_MS, 1) }, afterMs: 400 },
      [{ epoch: "a", heldMs: SLOW_MS, ended: "acknowledged late", waitedOutAgents: 1 }],
    ],
    [
      "a node whose acknowledgement was late in the registry",
      { holders: [holder("a", { ackedRevision: 5 })], readMs: { a: COMMITTED_MS + 300 }, afterMs: 400 },
      [{ epoch: "a", heldMs: 300, ended: "acknowledged late" }],
    ],
    [
      "a node that was waited out",
      { holders: [holder("a")], afterMs: W },
      [{ epoch: "a", address: "http://a", revision: 5, heldMs: W, ended: "lease ran out" }],
    ],
    [
      "a node that was collected during the wait, however early",
      { holders: [holder("a", { isCollected: true })], awaited: ["a"], afterMs: 1 },
      [{ epoch: "a", heldMs: 1, ended: "collected" }],
    ],
  ])("and names %s", (_, given, delays) => {
    const judgement = judged(given);
    expect(judgement.state === "passed" && judgement.delays).toMatchObject(delays);
    expect(judgement.state === "passed" && judgement.delays.length).toBe(delays.length);
  });
});
