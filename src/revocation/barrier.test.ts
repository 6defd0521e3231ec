import { beforeEach, describe, expect, it } from "vitest";
import { FakeClocks } from "../../testkit/fakes/fake-clocks.ts";
import { FakeRegistry } from "../../testkit/fakes/fake-registry.ts";
import { Barrier } from "./barrier.ts";
import { InProcessBus } from "./change-bus.ts";
import type { BarrierPassed, NodeDelay } from "./judge.ts";

const identity = "db";
const change = { revision: 5, identity, keyIds: ["key_a"] };
const W = (3000 * 1.02) / 0.98;

let clocks: FakeClocks;
let registry: FakeRegistry;
let bus: InProcessBus;
let barrier: Barrier;
let delays: NodeDelay[];
let outcome: BarrierPassed | Error | undefined;

function begin(): void {
  outcome = undefined;
  barrier.wait({ change, committedMs: clocks.monotonicMs() }).then(
    (passed) => {
      outcome = passed;
    },
    (error: Error) => {
      outcome = error;
    },
  );
}

beforeEach(() => {
  clocks = new FakeClocks();
  registry = new FakeRegistry();
  bus = new InProcessBus();
  const numbers = { clockRateError: 0.02, pollMs: 25, pushAgainMs: 50, giveUpMs: 6000, slowMs: 250 };
  delays = [];
  barrier = new Barrier({ registry, bus, clocks, timers: clocks, ...numbers, onDelay: (delay) => delays.push(delay) });
  registry.add({ epoch: "a" });
});

describe("the barrier", () => {
  it("passes as soon as every holder has acknowledged exactly that revision", async () => {
    registry.add({ epoch: "b" });
    begin();
    await clocks.pass(0);
    bus.acknowledge({ epoch: "a", revision: 5, identity });
    bus.acknowledge({ epoch: "b", revision: 4, identity });
    bus.acknowledge({ epoch: "b", revision: 6, identity });
    bus.acknowledge({ epoch: "b", revision: 5, identity: "another database" });
    await clocks.pass(0);
    expect(outcome).toBeUndefined();
    bus.acknowledge({ epoch: "b", revision: 5, identity });
    await clocks.pass(0);
    expect(outcome).toMatchObject({ confirmed: 2, expired: 0, isAcknowledgedByAll: true });
  });

  it("reports a slow node once, though a read of the registry ends after the wait", async () => {
    begin();
    await clocks.pass(0);
    const late = Promise.withResolvers<void>();
    registry.before = () => late.promise;
    await clocks.pass(300);
    bus.acknowledge({ epoch: "a", revision: 5, identity });
    await clocks.pass(0);
    expect(delays).toHaveLength(1);
    late.resolve();
    await clocks.pass(0);
    expect(delays).toHaveLength(1);
  });

  it("does not wait for a stalled read of the registry, and limits stalled reads", async () => {
    const gate = Promise.withResolvers<void>();
    registry.before = () => gate.promise;
    begin();
    await clocks.pass(99);
    expect(registry.calls).toEqual(["list"]);
    bus.acknowledge({ epoch: "a", revision: 5, identity });
    await clocks.pass(1000);
    expect(registry.calls).toEqual(["list", "list", "list"]);
    gate.resolve();
    await clocks.pass(0);
    expect(outcome).toMatchObject({ confirmed: 1 });
    registry.before = () => new Promise(() => undefined);
    begin();
    bus.acknowledge({ epoch: "a", revision: 5, identity });
    await clocks.pass(0);
    registry.before = async () => undefined;
    await clocks.pass(125);
    expect(outcome).toMatchObject({ confirmed: 1 });
  });

  it("counts an acknowledgement that arrived before the first read of the registry", async () => {
    const gate = Promise.withResolvers<void>();
    registry.before = () => gate.promise;
    begin();
    bus.acknowledge({ epoch: "a", revision: 5, identity });
    gate.resolve();
    await clocks.pass(0);
    expect(outcome).toMatchObject({ confirmed: 1, expired: 0 });
  });

  it("accepts an acknowledgement in the registry, of the revision or of a later one", async () => {
    begin();
    await clocks.pass(30);
    expect(outcome).toBeUndefined();
    registry.add({ epoch: "a", ackedRevision: 7 });
    await clocks.pass(25);
    expect(outcome).toMatchObject({ confirmed: 1 });
  });

  it("waits for silent holders by the longest term among them, counted from the commit", async () => {
    registry.add({ epoch: "b", termMs: 1000 });
    begin();
    await clocks.pass(W - 1);
    expect(outcome).toBeUndefined();
    await clocks.pass(1);
    expect(outcome).toMatchObject({ confirmed: 0, expired: 2, isAcknowledgedByAll: false });
  });

  it("waits for no holder that has left, and for none that registered after it began", async () => {
    registry.add({ epoch: "b" });
    begin();
    await clocks.pass(1);
    registry.add({ epoch: "late" });
    registry.rows.delete("b");
    bus.acknowledge({ epoch: "a", revision: 5, identity });
    await clocks.pass(30);
    expect(outcome).toMatchObject({ confirmed: 1, expired: 0 });
  });

  it("does not wait for a collected holder, and does not count it as acknowledged", async () => {
    registry.add({ epoch: "b", isCollected: true, usesRevocationSet: true });
    begin();
    bus.acknowledge({ epoch: "a", revision: 5, identity });
    await clocks.pass(0);
    expect(outcome).toMatchObject({ confirmed: 1, isAcknowledgedByAll: false, usesRevocationSet: true });
  });

  it("counts a node that is collected during the wait as waited out, and reports it", async () => {
    registry.add({ epoch: "b", address: "http://b" });
    begin();
    bus.acknowledge({ epoch: "a", revision: 5, identity });
    await clocks.pass(1000);
    registry.add({ epoch: "b", address: "http://b", isCollected: true });
    await clocks.pass(25);
    expect(outcome).toMatchObject({ confirmed: 1, expired: 1, isAcknowledgedByAll: false });
    expect(delays).toMatchObject([{ epoch: "b", address: "http://b", revision: 5, heldMs: 1025, ended: "collected" }]);
  });

  it("counts agents that a node waited out, and reports slow nodes only", async () => {
    for (const epoch of ["b", "c"]) registry.add({ epoch, address: `http://${epoch}` });
    begin();
    await clocks.pass(249);
    bus.acknowledge({ epoch: "a", revision: 5, identity });
    await clocks.pass(1);
    bus.acknowledge({ epoch: "b", revision: 5, identity });
    await clocks.pass(1000);
    bus.acknowledge({ epoch: "c", revision: 5, identity, waitedOutAgents: 2 });
    await clocks.pass(0);
    expect(outcome).toMatchObject({ confirmed: 3, expired: 2, isAcknowledgedByAll: true });
    expect(delays).toEqual([
      { epoch: "b", address: "http://b", revision: 5, heldMs: 250, ended: "acknowledged late", waitedOutAgents: 0 },
      { epoch: "c", address: "http://c", revision: 5, heldMs: 1250, ended: "acknowledged late", waitedOutAgents: 2 },
    ]);
  });

  it("reports nodes that it waited out, and no quick node after a slow read of the registry", async () => {
    registry.add({ epoch: "b", address: "http://b" });
    const gate = Promise.withResolvers<void>();
    registry.before = () => gate.promise;
    begin();
    bus.acknowledge({ epoch: "a", revision: 5, identity });
    await clocks.pass(1000);
    gate.resolve();
    await clocks.pass(W);
    expect(outcome).toMatchObject({ confirmed: 1, expired: 1 });
    expect(delays).toMatchObject([{ epoch: "b", address: "http://b", ended: "lease ran out" }]);
  });

  it("pushes the change at once and a second time", async () => {
    const pushed: number[] = [];
    const beganMs = clocks.monotonicMs();
    bus.onChange(() => pushed.push(clocks.monotonicMs() - beganMs));
    begin();
    await clocks.pass(W);
    expect(pushed).toEqual([0, 50]);
  });

  it("reads the registry again for each wait, and never relies on a read from before its commit", async () => {
    const gate = Promise.withResolvers<void>();
    registry.rows.clear();
    registry.before = () => gate.promise;
    begin();
    const first = registry.calls.length;
    registry.add({ epoch: "joined" });
    begin();
    gate.resolve();
    registry.before = async () => undefined;
    await clocks.pass(1);
    expect(registry.calls.length).toBeGreaterThan(first);
    expect(outcome).toBeUndefined();
  });

  it("fails after a while if the registry cannot be read", async () => {
    registry.before = () => Promise.reject(new Error("away"));
    begin();
    await clocks.pass(5900);
    expect(outcome).toBeUndefined();
    await clocks.pass(200);
    expect(outcome).toMatchObject({ message: "away" });
  });

  it("passes by the wait alone if the registry becomes unreachable after the first read", async () => {
    begin();
    await clocks.pass(1);
    registry.before = () => Promise.reject(new Error("away"));
    await clocks.pass(W);
    expect(outcome).toMatchObject({ expired: 1 });
  });
});
