import fc from "fast-check";
import { beforeEach, describe, expect, it } from "vitest";
import { FakeClocks } from "../../testkit/fakes/fake-clocks.ts";
import type { UsageDelta } from "../keys/usage-delta.ts";
import { UsageRecorder } from "./recorder.ts";

const HOUR_MS = 3_600_000;

let clocks: FakeClocks;
const use = { keyId: "key_a", callerId: "", version: 1, verdict: "valid", method: "/a.B/C", cost: 1 } as const;

beforeEach(() => {
  clocks = new FakeClocks();
});

describe("a usage recorder", () => {
  it("counts under key, caller, version, verdict, method and minute, and keeps the last second", async () => {
    const recorder = new UsageRecorder({ clocks, budgetBytes: 1e6 });
    const second = Math.floor(clocks.wallMs() / 1000);
    recorder.record(use);
    await clocks.pass(1000);
    recorder.record({ ...use, cost: 5 });
    for (const other of [
      { keyId: "key_b" },
      { callerId: "key_c" },
      { version: 2 },
      { verdict: "revoked" },
      { method: "" },
    ] as const) {
      recorder.record({ ...use, ...other });
    }
    await clocks.pass(60_000);
    recorder.record(use);
    const taken = recorder.take(100);
    expect(taken).toHaveLength(7);
    expect(taken[0]).toMatchObject({
      ...use,
      minute: Math.floor(second / 60),
      count: 2,
      cost: 6,
      lastSecond: second + 1,
    });
    expect(recorder.size).toBe(0);
  });

  it("counts a use that it finds by what it is like as one that it finds by name", async () => {
    const [found, plain] = [0, 1].map(() => new UsageRecorder({ clocks, budgetBytes: 1e6 })) as [
      UsageRecorder,
      UsageRecorder,
    ];
    const like = { counted: undefined };
    const totals: number[] = [];
    const others = [{}, {}, { verdict: "revoked" }, { method: "/a.B/D" }, {}] as const;
    for (let turn = 0; turn < 6; turn++) {
      for (const other of others) {
        found.record({ ...use, ...other }, like);
        plain.record({ ...use, ...other });
      }
      // What was taken is on its way, and must not grow any more.
      if (turn % 2 === 1) {
        const limit = turn === 3 ? 100 : 2;
        const [taken, expected] = [found.take(limit), plain.take(limit)];
        expect(taken).toEqual(expected);
        const before = structuredClone(taken);
        found.record(use, like);
        plain.record(use);
        expect(taken).toEqual(before);
        totals.push(...taken.map(({ count }) => count));
      }
      await clocks.pass(40_000);
    }
    const rest = found.take(100);
    expect(rest).toEqual(plain.take(100));
    totals.push(...rest.map(({ count }) => count));
    expect(totals.reduce((sum, count) => sum + count, 0)).toBe(6 * others.length + 3);
  });

  it("loses and doubles nothing, in whatever order uses come and are taken", async () => {
    const used = fc.record({
      ...{ kind: fc.constant("use" as const), reading: fc.nat(2), cost: fc.nat(3) },
      ...{ verdict: fc.constantFrom("valid", "revoked"), method: fc.constantFrom("", "/a.B/C", "/a.B/\0") },
    });
    const taken = fc.record({ kind: fc.constant("take" as const), limit: fc.integer({ min: 1, max: 6 }) });
    const passed = fc.record({ kind: fc.constant("pass" as const), seconds: fc.constantFrom(1, 61) });
    const steps = fc.array(fc.oneof({ arbitrary: used, weight: 6 }, taken, passed), { maxLength: 60 });
    await fc.assert(
      fc.asyncProperty(steps, async (all) => {
        clocks = new FakeClocks();
        const recorder = new UsageRecorder({ clocks, budgetBytes: 1e6 });
        // One secret was read twice.
        const readings = [1, 1, 2].map((version) => ({ version, like: { counted: undefined } }));
        const [expected, found] = [new Map<string, number>(), new Map<string, number>()];
        const batches: { readonly batch: readonly UsageDelta[]; readonly asTaken: readonly UsageDelta[] }[] = [];
        const take = (limit: number) => {
          const batch = recorder.take(limit);
          batches.push({ batch, asTaken: structuredClone(batch) });
        };
        for (const step of all) {
          if (step.kind === "take") take(step.limit);
          else if (step.kind === "pass") await clocks.pass(step.seconds * 1000);
          else {
            const { version, like } = readings[step.reading] ?? { version: 0, like: undefined };
            const { verdict, method, cost } = step;
            recorder.record({ ...use, version, verdict, method, cost }, like);
            const lastSecond = Math.floor(clocks.wallMs() / 1000);
            const minute = Math.floor(lastSecond / 60);
            const stored = method.replace("\0", "\u{fffd}");
            add(expected, { ...use, version, verdict, method: stored, cost, minute, count: 1, lastSecond });
          }
        }
        take(1000);
        for (const { batch, asTaken } of batches) {
          expect(batch).toEqual(asTaken);
          for (const delta of batch) add(found, delta);
        }
        expect(found).toEqual(expected);
      }),
    );
  });

  it("says nothing of a last second before the wall clock was put back", async () => {
    const recorder = new UsageRecorder({ clocks, budgetBytes: 1e6 });
    const like = { counted: undefined };
    recorder.record(use, like);
    recorder.take(10);
    clocks.suspend(-3000);
    recorder.record(use, like);
    expect(recorder.take(10)).toMatchObject([{ lastSecond: Math.floor(clocks.wallMs() / 1000) }]);
  });

  it("makes no more rows than there are names and secrets, however uses alternate", () => {
    const recorder = new UsageRecorder({ clocks, budgetBytes: 1e6 });
    const like = { counted: undefined };
    for (let turn = 0; turn < 3; turn++) {
      for (let at = 0; at < 100; at++) recorder.record({ ...use, method: `/a.B/${at % 2}` }, like);
      expect(recorder.size).toBeLessThanOrEqual(3);
      recorder.take(100);
    }
  });

  it("gives up methods before counts, and says how many of each", () => {
    const recorder = new UsageRecorder({ clocks, budgetBytes: 3100 });
    for (let i = 0; i < 20; i++) recorder.record({ ...use, method: `/a.B/${i}` });
    expect(recorder.counters).toEqual({ methodsDropped: 13, countsDropped: 0 });
    for (let i = 0; i < 20; i++) recorder.record({ ...use, keyId: `key_${i}`, method: "" });
    expect(recorder.counters.countsDropped).toBe(18);
    const counted = recorder.take(100).reduce((sum, { count }) => sum + count, 0);
    expect(counted + recorder.counters.countsDropped).toBe(40);
  });

  it("counts the further uses of a secret without their method while there is no room for it, and says how many", () => {
    const recorder = new UsageRecorder({ clocks, budgetBytes: 700 });
    const like = { counted: undefined };
    recorder.record({ ...use, keyId: "key_b", method: "" });
    for (let i = 0; i < 5; i++) recorder.record(use, like);
    expect(recorder.counters).toEqual({ methodsDropped: 5, countsDropped: 0 });
    const taken = recorder.take(100);
    expect(taken).toMatchObject([{ count: 1 }, { keyId: use.keyId, method: "", count: 5 }]);
    recorder.release(taken);
    recorder.record(use, like);
    expect(recorder.take(100)).toMatchObject([{ method: use.method, count: 1 }]);
  });

  it("counts what was taken against its budget until the ledger has it", () => {
    const recorder = new UsageRecorder({ clocks, budgetBytes: 700 });
    const like = { counted: undefined };
    recorder.record({ ...use, method: "" }, like);
    recorder.record({ ...use, keyId: "key_b", method: "" });
    const taken = recorder.take(100);
    recorder.record({ ...use, keyId: "key_c", method: "" });
    expect(recorder.counters.countsDropped).toBe(1);
    recorder.record({ ...use, method: "" }, like);
    expect(recorder.counters.countsDropped).toBe(2);
    recorder.release(taken);
    recorder.record({ ...use, keyId: "key_c", method: "" });
    expect(recorder.counters.countsDropped).toBe(2);
  });

  it("loses nothing in an hour without storage, in memory that is bounded by minutes and keys, not by requests", async () => {
    const recorder = new UsageRecorder({ clocks, budgetBytes: 64 * 1024 * 1024 });
    let produced = 0;
    for (let at = 0; at < HOUR_MS; at += 10_000) {
      for (let i = 0; i < 500; i++) {
        recorder.record({ ...use, keyId: `key_${i % 100}` });
        produced += 1;
      }
      await clocks.pass(10_000);
    }
    expect(recorder.size).toBeLessThanOrEqual(61 * 100);
    expect(recorder.counters).toEqual({ methodsDropped: 0, countsDropped: 0 });
    expect(recorder.take(1e6).reduce((sum, { count }) => sum + count, 0)).toBe(produced);
  });

  it("keeps no secret that was given as a method", () => {
    const recorder = new UsageRecorder({ clocks, budgetBytes: 1e6 });
    const secret = "clv_live_AOPAGvCLN5WMME59R6tlOq9PgHccn2QBgNShRZCAMLd0zl5ty";
    recorder.record({ ...use, method: `/a.B/${secret}` });
    expect(JSON.stringify(recorder.take(10))).not.toContain(secret);
  });

  it("lets nothing grow that was taken, though its method is kept under another spelling", () => {
    const recorder = new UsageRecorder({ clocks, budgetBytes: 1e6 });
    recorder.record({ ...use, method: "/a.B/\0" });
    recorder.record({ ...use, keyId: "key_b" });
    const taken = recorder.take(1);
    recorder.record({ ...use, method: "/a.B/\0" });
    expect(taken).toMatchObject([{ count: 1 }]);
    expect(recorder.take(10).reduce((sum, { count }) => sum + count, 0)).toBe(2);
  });

  it("keeps the newest proof of what it counts together", () => {
    const recorder = new UsageRecorder({ clocks, budgetBytes: 1e6 });
    for (const proof of ["first", "second"]) recorder.record({ ...use, proof }, { counted: undefined });
    expect(recorder.take(10)).toMatchObject([{ count: 2, proof: "second" }]);
  });

  it("keeps a method that Postgres could not store, with U+FFFD for U+0000 and half a surrogate pair", () => {
    const recorder = new UsageRecorder({ clocks, budgetBytes: 1e6 });
    for (const wrong of ["\0", "\ud800", "\udc00"]) recorder.record({ ...use, method: `/a.B/${wrong}` });
    expect(recorder.take(10)).toMatchObject([{ method: "/a.B/\u{fffd}", count: 3 }]);
  });
});

/** Adds to what was counted and charged under a name, and keeps its last second. */
function add(totals: Map<string, number>, { count, cost, lastSecond, proof: _, ...name }: UsageDelta): void {
  const key = JSON.stringify(Object.entries(name).sort());
  totals.set(`${key} count`, (totals.get(`${key} count`) ?? 0) + count);
  totals.set(`${key} cost`, (totals.get(`${key} cost`) ?? 0) + cost);
  totals.set(`${key} last`, Math.max(totals.get(`${key} last`) ?? 0, lastSecond));
}
