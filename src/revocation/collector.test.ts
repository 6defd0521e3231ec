import { beforeEach, describe, expect, it } from "vitest";
import { FakeClocks } from "../../testkit/fakes/fake-clocks.ts";
import { FakeRegistry } from "../../testkit/fakes/fake-registry.ts";
import { Collector } from "./collector.ts";

const TERM_MS = 3000;
const TWO_WAITS_MS = (2 * TERM_MS * 1.02) / 0.98;

let clocks: FakeClocks;
let registry: FakeRegistry;
let collected: string[];

beforeEach(() => {
  clocks = new FakeClocks();
  registry = new FakeRegistry();
  collected = [];
  registry.add({ epoch: "gone", termMs: TERM_MS });
  new Collector({
    ...{ registry, clocks, timers: clocks, clockRateError: 0.02, termMs: TERM_MS },
    onCollected: (epoch) => collected.push(epoch),
  }).start();
});

const renew = (renewSeq: number) => registry.add({ epoch: "gone", termMs: TERM_MS, renewSeq });

describe("a verifier that does not renew", () => {
  it("is collected after two waits of its own term, and not before", async () => {
    await clocks.pass(TERM_MS / 4 + TWO_WAITS_MS - 1);
    expect(collected).toEqual([]);
    await clocks.pass(TERM_MS / 4 + 1);
    expect(collected).toEqual(["gone"]);
    expect(registry.rows.get("gone")?.isCollected).toBe(true);
  });

  it("is not collected if it renews in between", async () => {
    for (let seq = 2; seq < 20; seq++) {
      renew(seq);
      await clocks.pass(TERM_MS);
    }
    expect(collected).toEqual([]);
  });

  it("is not collected after a failed read, which may have hidden a renewal", async () => {
    await clocks.pass(TWO_WAITS_MS);
    registry.before = () => Promise.reject(new Error("away"));
    await clocks.pass(TERM_MS);
    registry.before = async () => undefined;
    await clocks.pass(TWO_WAITS_MS);
    expect(collected).toEqual([]);
    await clocks.pass(TERM_MS);
    expect(collected).toEqual(["gone"]);
  });

  it("is not collected by a process that was stalled", async () => {
    await clocks.pass(TWO_WAITS_MS);
    clocks.stall(TERM_MS * 10);
    await clocks.pass(TWO_WAITS_MS - TERM_MS);
    expect(collected).toEqual([]);
  });
});
