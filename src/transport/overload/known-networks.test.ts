import { expect, it } from "vitest";
import { KnownNetworks } from "./known-networks.ts";

it("a network is known for a minute after a good credential, and as long again after each further one", () => {
  let nowMs = 1;
  const networks = new KnownNetworks(() => nowMs);
  expect(networks.has("192.0.2.1")).toBe(false);
  networks.note("192.0.2.1");
  nowMs += 59_000;
  expect(networks.has("192.0.2.1")).toBe(true);
  networks.note("192.0.2.1");
  nowMs += 59_000;
  expect(networks.has("192.0.2.1")).toBe(true);
  nowMs += 2_000;
  expect(networks.has("192.0.2.1")).toBe(false);
});

it("all addresses of an IPv6 /64 are one network", () => {
  const networks = new KnownNetworks(() => 1);
  networks.note("2001:db8:1:2::3");
  expect(networks.has("2001:db8:1:2::/64")).toBe(true);
  expect(networks.has("2001:db8:1:3::/64")).toBe(false);
});

it("it remembers 10,000 networks at most", () => {
  const networks = new KnownNetworks(() => 1);
  for (let each = 0; each <= 10_000; each++) networks.note(`net-${each}`);
  expect([networks.has("net-0"), networks.has("net-1"), networks.has("net-10000")]).toEqual([false, true, true]);
});
