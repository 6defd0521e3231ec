import { beforeEach, describe, expect, it } from "vitest";
import { FakeClocks } from "../../testkit/fakes/fake-clocks.ts";
import { DAY_MS } from "../system/clocks.ts";
import { InProcessLimiter } from "./limiter.ts";

const limits = { requestsPerSecond: 0, burst: 0, requestsPerDay: 3 };

let clocks: FakeClocks;
let charged: number;
let reads: Date[];
let limiter: InProcessLimiter;

beforeEach(() => {
  clocks = new FakeClocks();
  [charged, reads] = [0, []];
  const readCharged = async (_: string, day: Date) => {
    reads.push(day);
    return charged;
  };
  limiter = new InProcessLimiter({ clocks, readCharged, capacity: 10 });
});
const ask = async (costs: readonly number[], keyId = "key_a") =>
  (await limiter.charge({ keyId, limits, costs })).map(({ outcome }) => outcome);

describe("limits of one process", () => {
  it("end with the day, and begin anew at midnight without a read", async () => {
    expect(await ask([1, 1, 1, 1])).toEqual(["charged", "charged", "charged", "quota_exhausted"]);
    const untilMidnight = DAY_MS - (clocks.wallMs() % DAY_MS);
    await clocks.pass(untilMidnight - 1);
    expect(await ask([1])).toEqual(["quota_exhausted"]);
    await clocks.pass(1);
    expect(await ask([1])).toEqual(["charged"]);
    expect(reads).toHaveLength(1);
  });

  it("begin after a restart with what the ledger says of the day", async () => {
    charged = 2;
    expect(await ask([1, 1])).toEqual(["charged", "quota_exhausted"]);
    expect((reads[0]?.getTime() ?? 1) % DAY_MS).toBe(0);
  });

  it("are per key", async () => {
    await ask([3]);
    expect(await ask([1], "key_b")).toEqual(["charged"]);
  });

  it("read a key anew that was forgotten for want of room", async () => {
    await ask([3]);
    for (let i = 0; i < 10; i++) await ask([1], `key_${i}`);
    charged = 3;
    expect(await ask([1])).toEqual(["quota_exhausted"]);
  });
});
