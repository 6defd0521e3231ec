import { beforeEach, describe, expect, it } from "vitest";
import { FakeClocks } from "../../testkit/fakes/fake-clocks.ts";
import { fakeFound } from "../../testkit/fakes/fake-found.ts";
import { Lease } from "./lease.ts";
import { createReady } from "./ready-secret.ts";
import { SecretCache } from "./secret-cache.ts";

const TERM_MS = 3000;
const MAX_AGE_MS = 2000;
const KEY = "key_a";
const ready = createReady({ clockRateError: 0.02, describe: () => "" });

let clocks: FakeClocks;
let lease: Lease;
let cache: SecretCache;

function grant(): void {
  lease.grant({ monotonicMs: clocks.monotonicMs(), wallMs: clocks.wallMs() }, TERM_MS);
}

function keep(secret: string, found = fakeFound(KEY)): string {
  const place = cache.placeOf(secret);
  const fill = cache.beginFill(place);
  cache.keep(fill, ready(found, fill.start));
  return place;
}

beforeEach(() => {
  clocks = new FakeClocks();
  lease = new Lease(clocks);
  cache = new SecretCache({
    ...{ lease, clocks, capacity: 3, maxAgeMs: MAX_AGE_MS },
    random: (bytes) => new Uint8Array(bytes).fill(7),
  });
  grant();
});

describe("what was read", () => {
  it("is answered from while the lease is live, and not a moment longer, though no timer has run", () => {
    const place = keep("s");
    expect(cache.find(place)?.keyId).toBe(KEY);
    clocks.stall(MAX_AGE_MS - 1);
    expect(cache.find(place)?.keyId).toBe(KEY);
    lease.end();
    expect(cache.find(place)).toBeUndefined();
  });

  it("is read again after its greatest age, though a lease is live", () => {
    const place = keep("s");
    clocks.stall(MAX_AGE_MS);
    grant();
    expect(cache.find(place)).toBeUndefined();
    expect(cache.findUnleased(place)?.keyId).toBe(KEY);
  });

  it("ends before the secret does, by the slowest clock that is allowed for", () => {
    const found = fakeFound(KEY);
    const place = keep("s", {
      ...found,
      secret: { ...found.secret, retireTime: new Date(found.now.getTime() + 1000) },
    });
    clocks.stall(1000 * (0.98 / 1.02) - 1);
    expect(cache.find(place)).toBeDefined();
    clocks.stall(1);
    expect(cache.find(place)).toBeUndefined();
    expect(cache.findUnleased(place)).toBeUndefined();
  });

  it("is over after a night's sleep, which only the wall clock has counted", () => {
    const place = keep("s");
    clocks.suspend(TERM_MS);
    expect(cache.find(place)).toBeUndefined();
    grant();
    expect(cache.find(place)).toBeUndefined();
  });

  it("is forgotten with every secret of a key that changes, and others are not", () => {
    const [first, second, other] = [keep("1"), keep("2"), keep("3", fakeFound("key_b"))];
    cache.apply([KEY]);
    expect([first, second].map((place) => cache.find(place))).toEqual([undefined, undefined]);
    expect(cache.find(other)?.keyId).toBe("key_b");
    cache.apply("all");
    expect(cache.find(other)).toBeUndefined();
    expect(cache.size).toBe(0);
  });

  it("gives way to newer ones beyond the capacity, and a change of its key still finds the rest", () => {
    const places = ["1", "2", "3", "4"].map((secret) => keep(secret));
    expect(places.map((place) => cache.find(place) !== undefined)).toEqual([false, true, true, true]);
    cache.apply([KEY]);
    expect(cache.size).toBe(0);
  });

  it("is kept under a place that does not show the secret", () => {
    expect(cache.placeOf("clv_live_secret")).not.toContain("secret");
  });
});

describe("a read that was under way", () => {
  const fill = () => cache.beginFill(cache.placeOf("s"));

  it("is not kept if its key changed meanwhile, and is if another did", () => {
    const hit = fill();
    cache.apply(["key_b"]);
    cache.keep(hit, ready(fakeFound(KEY), hit.start));
    expect(cache.size).toBe(1);
    const old = fill();
    cache.apply([KEY]);
    cache.keep(old, ready(fakeFound(KEY), old.start));
    expect(cache.size).toBe(0);
    expect(cache.counters.discardedFills).toBe(1);
  });

  it.each([
    ["everything was dropped", () => cache.clear()],
    ["more changed than is remembered", () => Array.from({ length: 257 }, () => cache.apply(["key_b"]))],
  ])("is not kept if %s", (_what, happen) => {
    const old = fill();
    happen();
    cache.keep(old, ready(fakeFound(KEY), old.start));
    expect(cache.size).toBe(0);
  });

  it("is not kept if no lease held when it began", () => {
    lease.end();
    const old = fill();
    grant();
    cache.keep(old, ready(fakeFound(KEY), old.start));
    expect(cache.size).toBe(0);
  });

  it("is joined by others only while nothing was applied, its lease held, and the lease is live", () => {
    const read = fill();
    expect(cache.mayJoin(read)).toBe(true);
    clocks.stall(TERM_MS);
    expect(cache.mayJoin(read)).toBe(false);
    grant();
    expect(cache.mayJoin(read)).toBe(true);
    cache.apply(["key_b"]);
    expect(cache.mayJoin(read)).toBe(false);
  });
});
