import { beforeEach, expect, it } from "vitest";
import { TurnWatch } from "./turn-watch.ts";

let nowMs: number;
let watch: TurnWatch;
let known: Set<string>;
const one = {};
const bring = (calls: number, from: object = one) => Array.from({ length: calls }, () => watch.isOver(from));
const times = (count: number, isOver: boolean) => Array.from({ length: count }, () => isOver);
const nextTurn = () => new Promise(setImmediate);
/** So that nobody else is alone. */
const join = async () => {
  await nextTurn();
  bring(1, {});
};

beforeEach(() => {
  nowMs = 0;
  known = new Set();
  const addressOf = (connection: { readonly address?: string }) => connection.address ?? "balancer";
  const isKnown = (address: string) => known.has(address);
  const limits = { mostTurnMs: 100, burstCalls: 3, burstApartMs: 1000 };
  watch = new TurnWatch({ monotonicMs: () => nowMs, addressOf, isKnown, ...limits });
});

it("what comes late in a turn that goes on bringing calls is let in as a burst, and beyond it refused", async () => {
  expect(bring(1)).toEqual([false]);
  nowMs += 101;
  expect(bring(5)).toEqual([...times(3, false), ...times(2, true)]);
  await nextTurn();
  expect(bring(5)).toEqual(times(5, false));
  nowMs += 100;
  expect(bring(1)).toEqual([false]);
  nowMs += 1;
  expect(bring(2)).toEqual([true, true]);
});

it("what takes longer than it takes to come may come for a shorter time", async () => {
  const slow = () => watch.isOver(one, 10);
  expect(bring(1)).toEqual([false]);
  nowMs += 11;
  expect([...bring(2), ...Array.from({ length: 4 }, slow)]).toEqual([...times(5, false), true]);
});

it("bursts that follow each other are one, and after a while without there can be the next", async () => {
  const late = async (calls: number) => {
    await nextTurn();
    bring(1);
    nowMs += 101;
    return bring(calls);
  };
  expect(await late(2)).toEqual(times(2, false));
  expect(await late(2)).toEqual([false, true]);
  nowMs += 1000 - 101;
  await join();
  expect(await late(1)).toEqual([true]);
  nowMs += 1000 - 100;
  await join();
  expect(await late(4)).toEqual([...times(3, false), true]);
});

it("who has been alone for a while is not refused, until another comes", async () => {
  const late = async (calls: number) => {
    await nextTurn();
    bring(1);
    nowMs += 101;
    return bring(calls);
  };
  nowMs = 900;
  expect(await late(4)).toEqual([...times(3, false), true]);
  expect(await late(100)).toEqual(times(100, true));
  nowMs += 900;
  expect(await late(100)).toEqual(times(100, false));
  await join();
  expect(await late(4)).toEqual(times(4, true));
});

it("any number of calls is let in while turns are short", async () => {
  for (let turn = 0; turn < 10; turn++) {
    expect(bring(100)).toEqual(times(100, false));
    nowMs += 100;
    await nextTurn();
  }
});

it("who brings no more than a fair share of what there was time for is not refused for what another brings", async () => {
  const [flood, quiet] = [{}, {}];
  bring(4, flood);
  nowMs += 101;
  expect(bring(4, flood)).toEqual([...times(3, false), true]);
  expect(bring(3, quiet)).toEqual([false, false, true]);
});

it("what a connection brought in one turn is not held against it in the next", async () => {
  const [once, flood] = [{}, {}];
  bring(4, once);
  await nextTurn();
  bring(4, flood);
  nowMs += 101;
  expect(bring(4, flood)).toEqual([...times(3, false), true]);
  expect(bring(2, once)).toEqual([false, false]);
});

it("an address that brings no more than a fair share is not refused for the many connections of another", async () => {
  const floodFrom = () => watch.isOver({ address: "flood" });
  for (let call = 0; call < 4; call++) floodFrom();
  nowMs += 101;
  expect(Array.from({ length: 100 }, floodFrom)).toEqual([...times(3, false), ...times(97, true)]);
  expect(bring(3, { address: "quiet" })).toEqual([false, false, true]);
});

it.each([true, false])(
  "a flood from thousands of addresses does not refuse an address with a good credential (known: %s)",
  (isKnown) => {
    if (isKnown) known.add("caller");
    const flood = (calls: number) =>
      Array.from({ length: calls }, (_, at) => watch.isOver({ address: `flood-${nowMs}-${at}` }));
    flood(400);
    nowMs += 101;
    expect(flood(4000)).toContain(true);
    // Each on a connection of its own.
    const calls = Array.from({ length: 100 }, () => watch.isOver({ address: "caller" }));
    expect(calls).toEqual(times(100, !isKnown));
  },
);

it("known addresses share what there was time for: one that floods is refused, and others are not", () => {
  for (const address of ["flood", "quiet"]) known.add(address);
  const from = (address: string) => watch.isOver({ address });
  for (let call = 0; call < 20; call++) from("flood");
  nowMs += 101;
  expect(Array.from({ length: 100 }, () => from("flood"))).toContain(true);
  expect(Array.from({ length: 10 }, () => from("quiet"))).toEqual(times(10, false));
});
