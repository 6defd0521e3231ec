import { beforeEach, describe, expect, it } from "vitest";
import { FakeClocks } from "../../testkit/fakes/fake-clocks.ts";
import { deriveRootKeys } from "../keys/root-secret.ts";
import type { UsageBatch, UsageDelta } from "../keys/usage-delta.ts";
import { UsageProofs } from "../keys/usage-proof.ts";
import { DAY_MS } from "../system/clocks.ts";
import { AgentReports, type RefusedRows } from "./agent-reports.ts";
import type { Appended } from "./flusher.ts";

const CALLER = "key_caller";
const ENTRY_MS = 300_000;
const rootOf = (byte: number) => deriveRootKeys(new Uint8Array(32).fill(byte));

let clocks: FakeClocks;
let appended: UsageBatch[];
let answer: Appended;
/** What the ledger waits for, if it does not answer at once. */
let hold: Promise<void> | undefined;
let refused: RefusedRows[];
let reports: AgentReports;

beforeEach(() => {
  [clocks, appended, answer, refused] = [new FakeClocks(), [], "taken", []];
  hold = undefined;
  reports = reportsUnder(1);
});

function reportsUnder(root: number): AgentReports {
  return new AgentReports({
    ledger: {
      async append(batch) {
        appended.push(batch);
        await hold;
        return answer;
      },
    },
    ...{ proofs: new UsageProofs([rootOf(root)]), clocks, timers: clocks, entryMs: ENTRY_MS },
    ...{ mostReports: 2, mostWaitingReports: 4, reportWaitMs: 2000 },
    onRefused: (rows) => refused.push(rows),
  });
}

const nowSecond = () => Math.floor(clocks.wallMs() / 1000);
const proofOf = (keyId: string, caller = CALLER) =>
  Buffer.from(reports.proofFor(caller, { keyId, version: 1 })).toString("latin1");

function row(changes: Partial<UsageDelta> = {}): UsageDelta {
  const use = { keyId: "key_a", callerId: "", version: 1, verdict: "valid", method: "", count: 3, cost: 3 } as const;
  const time = { minute: 0, lastSecond: nowSecond() };
  return { ...use, ...time, proof: proofOf(changes.keyId ?? "key_a"), ...changes };
}

const take = (deltas: readonly UsageDelta[], seq = 1, epoch = "e") => reports.take(CALLER, { epoch, seq, deltas });
const taken = () => appended.flatMap(({ deltas }) => deltas.map(({ keyId }) => keyId));

describe("a report of an agent", () => {
  it("counts rows with the proof of their entry under the caller's own epoch", async () => {
    expect(await take([row()])).toBe("taken");
    expect(appended).toMatchObject([{ epoch: `${CALLER}/e`, seq: 1, deltas: [{ keyId: "key_a", count: 3 }] }]);
  });

  it.each<[string, (good: UsageDelta) => Partial<UsageDelta>]>([
    ["no proof", () => ({ proof: undefined })],
    ["the proof of another key", () => ({ proof: proofOf("key_b") })],
    ["the proof of another caller", () => ({ proof: proofOf("key_a", "key_other") })],
    ["another secret version than its proof", () => ({ version: 2 })],
    ["a verdict that no entry gives", () => ({ verdict: "unknown" })],
    ["a verdict that a limiter gives", () => ({ verdict: "quota_exhausted" })],
    ["more than a process can answer", () => ({ count: 600_000_001 })],
    ["more cost than its count can have", () => ({ cost: 3 * (2 ** 31 - 1) + 1 })],
    ["a cost that is no number", () => ({ cost: Number.NaN })],
  ])("is taken without a row that has %s", async (_, change) => {
    const good = row({ keyId: "key_good" });
    expect(await take([row(change(good)), good])).toBe("taken");
    expect(taken()).toEqual(["key_good"]);
    expect(reports.counters.rowsRefused).toBe(1);
  });

  it("is taken with the most that is possible", async () => {
    expect(await take([row({ count: 600_000_000, cost: 600_000_000 * (2 ** 31 - 1) })])).toBe("taken");
    expect(taken()).toEqual(["key_a"]);
  });

  it("moves its source on though all of its rows are refused, so that the next is no gap", async () => {
    expect(await take([row({ proof: "" })], 7)).toBe("taken");
    expect(appended).toEqual([{ epoch: `${CALLER}/e`, seq: 7, deltas: [] }]);
  });

  it("counts between the moment of its proof and now, whatever its clock says", async () => {
    const given = row();
    await clocks.pass(100_000);
    const times = [-1e15, 0, given.lastSecond - 1, given.lastSecond + 50, nowSecond() + 1, 1e15];
    await take(times.map((lastSecond) => ({ ...given, lastSecond })));
    const placed = appended[0]?.deltas.map(({ lastSecond }) => lastSecond - given.lastSecond);
    expect(placed).toEqual([0, 0, 0, 50, 100, 100]);
    for (const { minute, lastSecond } of appended[0]?.deltas ?? []) expect(minute).toBe(Math.floor(lastSecond / 60));
  });

  it("may wait for a week after the end of its entries, and no longer", async () => {
    const given = row();
    await clocks.pass(7 * DAY_MS + ENTRY_MS - 1000);
    await take([given]);
    expect(taken()).toEqual(["key_a"]);
    await clocks.pass(2000);
    await take([given], 2);
    expect(taken()).toEqual(["key_a"]);
    expect(refused.at(-1)).toMatchObject({ reason: "proof too old" });
  });

  it("waits while this process lacks the root of its proofs, for as long as a cluster is given one", async () => {
    const given = row();
    reports = reportsUnder(2);
    expect(await take([row(), given])).toBe("unavailable");
    expect(appended).toEqual([]);
    await clocks.pass(DAY_MS);
    expect(await take([row(), given])).toBe("taken");
    expect(taken()).toEqual(["key_a"]);
  });

  it("waits where its caller has begun a thousand epochs in the minute, or the ledger has no room for another", async () => {
    for (let epoch = 0; epoch < 1000; epoch++) expect(await take([row()], 1, `e${epoch}`)).toBe("taken");
    expect(await take([row()], 1, "beyond")).toBe("unavailable");
    expect(await take([row()], 2, "e7")).toBe("taken");
    expect(await reports.take("key_other", { epoch: "e", seq: 1, deltas: [] })).toBe("taken");
    await clocks.pass(60_000);
    expect(await take([row()], 1, "beyond")).toBe("taken");
    answer = "full";
    expect(await take([row()], 1, "full")).toBe("unavailable");
    expect(reports.counters).toEqual({ rowsRefused: 0, reportsPutOff: 2 });
  });

  it("of a caller that floods waits, and delays no other caller's for longer than one of its own takes", async () => {
    const held = Promise.withResolvers<void>();
    hold = held.promise;
    const flood = Array.from({ length: 10 }, (_, at) => take([row()], 1, `e${at}`));
    const other = reports.take("key_other", { epoch: "e", seq: 1, deltas: [] });
    expect(await Promise.race([...flood, "all wait"])).toBe("all wait");
    expect(appended.map(({ epoch }) => epoch)).toEqual([`${CALLER}/e0`, `${CALLER}/e1`]);
    held.resolve();
    expect(await other).toBe("taken");
    const outcomes = await Promise.all(flood);
    expect(outcomes.filter((outcome) => outcome === "taken").length).toBeGreaterThan(2);
    expect(outcomes.filter((outcome) => outcome === "unavailable").length).toBeGreaterThan(3);
    expect(appended.slice(2, 4).map(({ epoch }) => epoch)).toContain("key_other/e");
    expect(refused).toMatchObject([{ callerId: CALLER, reason: "too many reports at once" }]);
  });

  it("that had no turn in time is to be sent again", async () => {
    hold = new Promise(() => undefined);
    for (let at = 0; at < 2; at++) void take([row()], 1, `e${at}`);
    const waiting = take([row()], 1, "late");
    await clocks.pass(2000);
    expect(await waiting).toBe("unavailable");
    expect(appended).toHaveLength(2);
  });

  it("that is refused is told of once per caller and minute", async () => {
    for (let turn = 0; turn < 3; turn++) await take([row({ proof: "" }), row({ proof: "" })]);
    await reports.take("key_other", { epoch: "e", seq: 1, deltas: [row()] });
    expect(refused).toMatchObject([{ callerId: CALLER, reason: "proof" }, { callerId: "key_other" }]);
    await clocks.pass(60_000);
    await take([row({ proof: "" })]);
    expect(refused).toHaveLength(3);
    expect(reports.counters.rowsRefused).toBe(8);
  });
});
