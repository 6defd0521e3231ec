import { expect, it } from "vitest";
import { type Child, ChildLeases } from "./child-leases.ts";

it("who is gone, and whose lease is over, is not asked any more what it has applied", () => {
  const children = new ChildLeases(() => undefined);
  let [isGone, asked] = [false, 0];
  const child: Child = {
    notify: () => undefined,
    reset: () => undefined,
    noticeExpired: () => undefined,
    ackedRevision: () => {
      asked += 1;
      return 3;
    },
    hasApplied: () => {
      asked += 1;
      return false;
    },
    isLeased: () => !isGone,
    get isClosed() {
      return isGone;
    },
  };
  children.add(child);
  children.markPending(child);
  expect([children.ackedRevision(5), children.hasApplied(5), children.size, asked]).toEqual([3, false, 1, 2]);
  isGone = true;
  expect([children.ackedRevision(5), children.hasApplied(5), children.size, asked]).toEqual([5, true, 0, 2]);
});
