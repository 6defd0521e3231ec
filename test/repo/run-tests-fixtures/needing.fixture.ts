import { expect, test } from "vitest";
import { describeWithPostgres, describeWithRedis } from "../../../testkit/describe-with.ts";

describeWithPostgres("rows", () => {
  test("are there", () => expect(1).toBe(2));
});

describeWithRedis("counters", () => {
  test("count", () => expect(1).toBe(2));
});
