import { expect, it } from "vitest";
import { keyLimitOf } from "./preconditions.ts";

it("the longest prefix that an owner begins with gives its limit", () => {
  const policy = { keysPerOwner: 10, keysPerOwnerPrefix: { "svc:": 100, "svc:batch:": 500, "": 20 } };
  const limits = ["ada", "svc", "svc:a", "svc:batch:a"].map((owner) => keyLimitOf(owner, policy));
  expect(limits).toEqual([20, 20, 100, 500]);
});

it("an owner that no prefix fits has the common limit", () => {
  const policy = { keysPerOwner: 10, keysPerOwnerPrefix: { "svc:": 100 } };
  expect(["ada", "SVC:a", "__proto__"].map((owner) => keyLimitOf(owner, policy))).toEqual([10, 10, 10]);
});
