import { beforeEach, describe, expect, it } from "vitest";
import type { Charged, ChargeOrder } from "../keys/limits.ts";
import { Charges } from "./charges.ts";

const limits = { requestsPerSecond: 0, burst: 0, requestsPerDay: 10 };

let orders: ChargeOrder[];
let gate: PromiseWithResolvers<void>;
let fails: boolean;
let charges: Charges;

beforeEach(() => {
  [orders, fails] = [[], false];
  gate = Promise.withResolvers();
  charges = new Charges({
    async charge(order) {
      orders.push(order);
      await gate.promise;
      if (fails) throw new Error("away");
      return order.costs.map((cost): Charged => ({ outcome: cost > 5 ? "quota_exhausted" : "charged" }));
    },
  });
});

const ask = (cost: number, keyId = "key_a") => charges.charge(keyId, limits, cost);

describe("charges for one key", () => {
  it("of one turn go in one call; what comes meanwhile in the next, one at a time", async () => {
    const first = [ask(1), ask(2)];
    await Promise.resolve();
    const second = [ask(3), ask(9)];
    await new Promise((done) => setImmediate(done));
    expect(orders.map(({ costs }) => costs)).toEqual([[1, 2]]);
    gate.resolve();
    expect(await Promise.all([...first, ...second])).toEqual([
      { outcome: "charged" },
      { outcome: "charged" },
      { outcome: "charged" },
      { outcome: "quota_exhausted" },
    ]);
    expect(orders.map(({ costs }) => costs)).toEqual([
      [1, 2],
      [3, 9],
    ]);
  });

  it("are each charged by the limits that they were decided under", async () => {
    gate.resolve();
    const lowered = { ...limits, requestsPerDay: 1 };
    await Promise.all([ask(1), charges.charge("key_a", { ...limits }, 2), charges.charge("key_a", lowered, 3), ask(4)]);
    expect(orders.map((order) => [order.limits.requestsPerDay, order.costs])).toEqual([
      [10, [1, 2]],
      [1, [3]],
      [10, [4]],
    ]);
  });

  it("do not wait for another key", async () => {
    void ask(1);
    void ask(1, "key_b");
    await Promise.resolve();
    expect(orders.map(({ keyId }) => keyId)).toEqual(["key_a", "key_b"]);
  });

  it("fail with the call that they were in, and with no other", async () => {
    fails = true;
    const lost = expect(ask(1)).rejects.toThrow("away");
    gate.resolve();
    await lost;
    fails = false;
    expect(await ask(1)).toEqual({ outcome: "charged" });
  });

  it("are bounded per call", async () => {
    gate.resolve();
    await Promise.all(Array.from({ length: 1200 }, () => ask(1)));
    expect(orders.map(({ costs }) => costs.length)).toEqual([500, 500, 200]);
  });
});
