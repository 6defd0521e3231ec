import fc from "fast-check";
import { beforeEach, describe, expect, it } from "vitest";
import { FakeClocks } from "../../testkit/fakes/fake-clocks.ts";
import type { UsageBatch } from "../keys/usage-delta.ts";
import { type Appended, UsageFlusher } from "./flusher.ts";
import { UsageRecorder } from "./recorder.ts";

/** A ledger that can lose requests, lose replies, and be set back. */
class Ledger {
  taken: UsageBatch[] = [];
  /** What befalls the next calls, in order. */
  faults: ("lost" | "reply lost" | undefined)[] = [];

  async append(batch: UsageBatch): Promise<Appended> {
    const fault = this.faults.shift();
    if (fault === "lost") throw new Error("lost");
    const last = this.taken.findLast(({ epoch }) => epoch === batch.epoch)?.seq ?? 0;
    const outcome = batch.seq === last + 1 ? "taken" : batch.seq <= last ? "known" : "gap";
    if (outcome === "taken") this.taken.push(structuredClone(batch));
    if (fault === "reply lost") throw new Error("reply lost");
    return outcome;
  }

  total(): number {
    return this.taken.flatMap(({ deltas }) => deltas).reduce((sum, { count }) => sum + count, 0);
  }
}

const use = { callerId: "", version: 1, verdict: "valid", method: "", cost: 1 } as const;

let clocks: FakeClocks;
let recorder: UsageRecorder;
let ledger: Ledger;
let flusher: UsageFlusher;
let starts: number;

beforeEach(() => {
  clocks = new FakeClocks();
  starts = 0;
  recorder = new UsageRecorder({ clocks, budgetBytes: 1e6 });
  ledger = new Ledger();
  const random = (bytes: number) => new Uint8Array(bytes).fill(++starts);
  flusher = new UsageFlusher({ recorder, ledger, random, clocks, batchRows: 3 });
});

const count = (keys: number) => {
  for (let i = 0; i < keys; i++) recorder.record({ ...use, keyId: `key_${i}` });
};

describe("a usage flusher", () => {
  it("sends nothing while nothing was counted", async () => {
    await flusher.flush();
    expect(ledger.taken).toEqual([]);
  });

  it("sends a batch that was sent again as it is, and first, whatever was counted meanwhile", async () => {
    count(1);
    ledger.faults = ["reply lost", "lost"];
    await flusher.flush();
    count(2);
    await flusher.flush();
    expect(flusher.isEmpty).toBe(false);
    await flusher.flush();
    expect(flusher.isEmpty).toBe(true);
    expect(ledger.taken.map(({ seq, deltas }) => [seq, deltas.length])).toEqual([
      [1, 1],
      [2, 2],
    ]);
    expect(ledger.total()).toBe(3);
  });

  it("sends many in batches that fold", async () => {
    count(8);
    await flusher.flush();
    expect(ledger.taken.map(({ deltas }) => deltas.length)).toEqual([3, 3, 2]);
  });

  it("goes on as another source when the ledger was set back, and what it had taken is not sent again", async () => {
    for (let i = 0; i < 3; i++) {
      count(1);
      await flusher.flush();
    }
    ledger.taken = ledger.taken.slice(0, 1);
    count(1);
    await flusher.flush();
    expect(ledger.total()).toBe(2);
    expect(ledger.taken.at(-1)?.seq).toBe(1);
    expect(ledger.taken.at(-1)?.epoch).not.toBe(ledger.taken[0]?.epoch);
  });

  it("says since when the ledger lacks something", async () => {
    expect(flusher.lagMs).toBe(0);
    count(1);
    ledger.faults = ["lost"];
    await clocks.pass(500);
    await flusher.flush();
    await clocks.pass(500);
    expect(flusher.lagMs).toBe(1000);
    await flusher.flush();
    expect(flusher.lagMs).toBe(0);
  });

  it("has in the ledger exactly what was counted, once everything is sent, whatever was lost on the way", async () => {
    const faults = fc.array(fc.constantFrom("lost", "reply lost", undefined), { maxLength: 12 });
    const steps = fc.array(fc.tuple(fc.integer({ min: 0, max: 7 }), faults), { maxLength: 12 });
    await fc.assert(
      fc.asyncProperty(steps, async (turns) => {
        ledger = new Ledger();
        recorder = new UsageRecorder({ clocks, budgetBytes: 1e6 });
        flusher = new UsageFlusher({ recorder, ledger, random: (n) => new Uint8Array(n), clocks, batchRows: 3 });
        let produced = 0;
        for (const [keys, lost] of turns) {
          count(keys);
          produced += keys;
          ledger.faults = [...lost];
          await flusher.flush();
          expect(ledger.total()).toBeLessThanOrEqual(produced);
        }
        ledger.faults = [];
        await flusher.flush();
        await flusher.flush();
        expect(ledger.total()).toBe(produced);
      }),
    );
  });
});
