import { beforeEach, describe, expect, it } from "vitest";
import { type Child, ChildLeases, type PendingChange } from "./child-leases.ts";

const UNTIL_MS = 100;

let children: ChildLeases;

beforeEach(() => {
  children = new ChildLeases(() => undefined);
});

function child(of: { isGone: boolean } = { isGone: false }): Child {
  return {
    notify: () => undefined,
    reset: () => undefined,
    noticeExpired: () => undefined,
    isLeased: () => !of.isGone,
    get isClosed() {
      return of.isGone;
    },
  };
}

function change(sequence: number, [after, revision]: readonly [number, number], untilMs = UNTIL_MS): PendingChange {
  return { sequence, after, revision, untilMs, notifiedMs: 0 };
}

describe("the leases of children", () => {
  it.each<[string, pending: readonly PendingChange[], nowMs: number, minAcked: number, applied: readonly number[]]>([
    ["nothing", [], 0, 9, [1, 2, 3, 4, 5]],
    ["one revision", [change(1, [2, 3])], 0, 2, [1, 2, 4, 5]],
    ["a span", [change(1, [2, 4])], 0, 2, [1, 2, 5]],
    ["two revisions", [change(1, [3, 4]), change(2, [1, 2])], 0, 1, [1, 3, 5]],
    ["every revision", [change(1, [0, Number.POSITIVE_INFINITY])], 0, 0, []],
    ["a revision up to the last moment of the lease", [change(1, [2, 3])], UNTIL_MS - 1, 2, [1, 2, 4, 5]],
    ["nothing once the lease has ended", [change(1, [2, 3])], UNTIL_MS, 9, [1, 2, 3, 4, 5]],
    ["those of the lease that still runs", [change(1, [1, 2]), change(2, [3, 4], 200)], UNTIL_MS, 3, [1, 2, 3, 5]],
  ])("withhold %s", (_, pending, nowMs, minAcked, applied) => {
    children.add(child());
    const slow = child();
    children.add(slow);
    for (const each of pending) children.markPending(slow, each);
    expect(children.minAcked(9, nowMs)).toBe(minAcked);
    expect([1, 2, 3, 4, 5].filter((revision) => children.hasApplied(revision, nowMs))).toEqual(applied);
  });

  it("withhold a revision until the last child has acknowledged it", () => {
    const [first, second] = [child(), child()];
    for (const each of [first, second]) children.markPending(each, change(1, [2, 3]));
    children.takeAcknowledged(first, 1);
    expect([children.hasApplied(3, 0), [...children.pending]]).toEqual([false, [second]]);
    children.takeAcknowledged(second, 1);
    expect([children.hasApplied(3, 0), [...children.pending]]).toEqual([true, []]);
  });

  it("keep notifications beyond the sequence that is acknowledged", () => {
    const slow = child();
    const [first, second] = [change(1, [1, 2]), change(2, [2, 3])];
    children.markPending(slow, first);
    children.markPending(slow, second);
    expect(children.takeAcknowledged(slow, 1)).toEqual([first]);
    expect([children.countPending(slow, 0), children.minAcked(9, 0)]).toEqual([1, 2]);
  });

  it("hand out each expired notification once, and count each lease that was waited out", () => {
    const slow = child();
    children.markPending(slow, change(1, [1, 2]));
    expect([children.expire(slow, UNTIL_MS - 1), children.waitedOut]).toEqual([[], 0]);
    expect(children.expire(slow, UNTIL_MS)).toEqual([change(1, [1, 2])]);
    expect([children.expire(slow, UNTIL_MS), children.waitedOut, [...children.pending]]).toEqual([[], 1, []]);
    expect(children.takeExpired()).toEqual([{ child: slow, after: 1, revision: 2 }]);
    expect(children.takeExpired()).toEqual([]);
  });

  it("forget a child once its stream and its lease have ended", () => {
    const state = { isGone: false };
    const gone = child(state);
    children.add(gone);
    expect([children.size, children.isLeased]).toEqual([1, true]);
    state.isGone = true;
    expect([children.size, children.isLeased, [...children.all]]).toEqual([0, false, []]);
  });
});
