import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Caller } from "../access/caller.ts";
import { Bulkhead, type Lane } from "./bulkhead.ts";

const callerOf = (owner: string): Caller => ({
  ...{ kind: "user", owner, isAdmin: false, grantableScopes: [] },
  ...{ address: "", requestId: "" },
});

interface Asked {
  readonly who: string;
  readonly about: string;
  readonly lane: Lane;
  readonly isDenial?: boolean;
}

/** Work that goes on until it is ended by its place in `running`. */
function harness(connections: number) {
  const clock = { ms: 0 };
  const bulkhead = new Bulkhead({ connections, monotonicMs: () => clock.ms, waitMs: 1000 });
  const running: (Asked & { readonly end: () => void })[] = [];
  const refused: Asked[] = [];
  const ask = (asked: Asked) =>
    bulkhead
      .run({ ...asked, caller: callerOf(asked.who) }, async () => {
        const { promise, resolve } = Promise.withResolvers<void>();
        const work = { ...asked, end: resolve };
        running.push(work);
        await promise;
        running.splice(running.indexOf(work), 1);
      })
      .catch(() => void refused.push(asked));
  const settle = () => new Promise((resolve) => setImmediate(resolve));
  return { clock, running, refused, ask, settle };
}

const ordinary = (who: string, about = ""): Asked => ({ who, about, lane: "ordinary" });
const urgent = (who: string, about = ""): Asked => ({ who, about, lane: "urgent" });
const report = (who: string): Asked => ({ who, about: "", lane: "report" });
const names = (running: readonly Asked[]) => running.map(({ who }) => who);

it("on one connection, reports and urgent work take turns", async () => {
  const { running, ask, settle } = harness(1);
  for (let turn = 0; turn < 9; turn++) void ask(report(`address-${turn}`));
  for (let turn = 0; turn < 3; turn++) void ask(urgent("admin"));
  const order: string[] = [];
  for (let turn = 0; turn < 7; turn++) {
    await settle();
    order.push(...running.map(({ lane }) => lane));
    for (const work of [...running]) work.end();
  }
  expect(order).toEqual(["report", "urgent", "report", "urgent", "report", "urgent", "report"]);
});

describe("of 10 connections", () => {
  it("one caller's ordinary work uses 3, everybody's 5, and urgent work has 3 more", async () => {
    const { running, ask, settle } = harness(10);
    for (let turn = 0; turn < 50; turn++) void ask(ordinary("eve"));
    await settle();
    expect(running).toHaveLength(3);
    for (let turn = 0; turn < 50; turn++) void ask(ordinary("mallory"));
    await settle();
    expect(names(running)).toEqual(["eve", "eve", "eve", "mallory", "mallory"]);
    for (let turn = 0; turn < 50; turn++) void ask(urgent("admin"));
    await settle();
    expect(names(running).slice(5)).toEqual(["admin", "admin", "admin"]);
  });

  it("a caller with as many waiting calls as may be does not keep records of its denials out", async () => {
    const { running, refused, ask, settle } = harness(10);
    for (let turn = 0; turn < 200; turn++) void ask(ordinary("eve"));
    await settle();
    expect(refused).toHaveLength(200 - 128 - 3);
    void ask({ ...ordinary("eve", "denial"), isDenial: true });
    await settle();
    expect(running.map(({ about }) => about)).toContain("denial");
  });

  it("reports from however many addresses use 2, and urgent work does not wait for them", async () => {
    const { running, ask, settle } = harness(10);
    for (let turn = 0; turn < 500; turn++) void ask(report(`address-${turn}`));
    await settle();
    expect(running).toHaveLength(2);
    void ask(urgent("admin"));
    await settle();
    expect(names(running).slice(2)).toEqual(["admin"]);
  });

  it("work about one row uses 2, and does not hold up the caller's other work", async () => {
    const { running, ask, settle } = harness(10);
    for (let turn = 0; turn < 9; turn++) void ask(ordinary("eve", "key:a"));
    void ask(ordinary("eve", "key:b"));
    await settle();
    expect(running.map(({ about }) => about)).toEqual(["key:a", "key:a", "key:b"]);
  });

  it("a caller waits for at most one call of each other caller, among the urgent too", async () => {
    for (const lane of ["ordinary", "urgent"] as const) {
      const { running, ask, settle } = harness(10);
      for (let turn = 0; turn < 100; turn++) void ask({ who: turn % 2 === 0 ? "eve" : "mallory", about: "", lane });
      for (let turn = 0; turn < 100; turn++) void ask({ who: "oscar", about: "", lane });
      await settle();
      void ask({ who: "ada", about: "", lane });
      // Those of eve, mallory and oscar, and then that of ada.
      for (let ends = 0; ends < 4; ends++) {
        running[0]?.end();
        await settle();
      }
      expect(names(running)).toContain("ada");
    }
  });
});

describe("of one connection", () => {
  it("the urgent goes first, and the ordinary after three of them", async () => {
    const { running, ask, settle } = harness(1);
    for (let turn = 0; turn < 9; turn++) void ask(ordinary("eve"));
    for (let turn = 0; turn < 9; turn++) void ask(urgent("admin"));
    const order: string[] = [];
    for (let turn = 0; turn < 9; turn++) {
      await settle();
      order.push(running[0]?.who ?? "nothing");
      running[0]?.end();
    }
    expect(order).toEqual(["eve", "admin", "admin", "admin", "eve", "admin", "admin", "admin", "eve"]);
  });
});

it("a caller's calls beyond 128 that wait are refused at once, and only that caller's", async () => {
  const { refused, ask, settle, running } = harness(10);
  for (let turn = 0; turn < 500; turn++) void ask(ordinary("eve"));
  void ask(ordinary("ada"));
  await settle();
  expect(refused).toHaveLength(500 - 3 - 128);
  expect(new Set(names(refused))).toEqual(new Set(["eve"]));
  expect(names(running)).toContain("ada");
});

it("where too many wait in all, the caller with the most waiting calls loses its last", async () => {
  const { refused, ask, settle } = harness(1);
  for (let who = 0; who < 4090; who++) void ask(ordinary(`user-${who}`));
  for (let turn = 0; turn < 100; turn++) void ask(ordinary("eve"));
  for (let who = 0; who < 50; who++) void ask(ordinary(`late-${who}`));
  await settle();
  expect(refused.length).toBeGreaterThan(100);
  expect(names(refused).filter((who) => who !== "eve").length).toBeLessThanOrEqual(50);
  expect(names(refused).filter((who) => who.startsWith("user"))).toEqual([]);
});

it("what waits for longer than the limit is refused, and not done", async () => {
  const { clock, running, refused, ask, settle } = harness(1);
  void ask(ordinary("eve"));
  void ask(ordinary("ada"));
  await settle();
  clock.ms = 1001;
  running[0]?.end();
  await settle();
  expect(names(refused)).toEqual(["ada"]);
  expect(running).toEqual([]);
});

it("never does more than its shares at once, and in the end has done or refused everything, whatever comes when", async () => {
  const asked = fc.record({
    who: fc.constantFrom("ada", "eve", "bob"),
    about: fc.constantFrom("", "key:a", "key:b"),
    lane: fc.constantFrom("ordinary" as const, "urgent" as const),
  });
  const step = fc.oneof(asked, fc.nat(9));
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(1, 2, 3, 4, 10, 20), fc.array(step, { maxLength: 60 }), async (pool, steps) => {
      const { running, refused, ask, settle } = harness(pool);
      const count = (of: (work: Asked) => boolean) => running.filter(of).length;
      let calls = 0;
      let done = 0;
      const end = (at: number) => {
        const work = running[at % Math.max(1, running.length)];
        if (work !== undefined) done += 1;
        work?.end();
      };
      for (const each of steps) {
        if (typeof each === "number") end(each);
        else {
          calls += 1;
          void ask(each);
        }
        await settle();
        expect(running.length).toBeLessThanOrEqual(pool);
        expect(count(({ lane }) => lane === "ordinary")).toBeLessThanOrEqual(Math.max(1, pool / 2));
        for (const about of ["key:a", "key:b"]) {
          for (const lane of ["ordinary", "urgent"]) {
            expect(count((work) => work.about === about && work.lane === lane)).toBeLessThanOrEqual(2);
          }
        }
      }
      while (running.length > 0) {
        end(0);
        await settle();
      }
      expect(done + refused.length).toBe(calls);
    }),
  );
});
