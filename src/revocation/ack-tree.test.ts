import { expect, it } from "vitest";
import { AckTree, type Child } from "./ack-tree.ts";

it("who is gone, and whose lease is over, is not asked any more what it has applied", () => {
  const tree = new AckTree(() => undefined);
  let [isGone, asked] = [false, 0];
  const child: Child = {
    tell: () => undefined,
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
  tree.add(child);
  tree.behind(child);
  expect([tree.ackedRevision(5), tree.hasApplied(5), tree.size, asked]).toEqual([3, false, 1, 2]);
  isGone = true;
  expect([tree.ackedRevision(5), tree.hasApplied(5), tree.size, asked]).toEqual([5, true, 0, 2]);
});
