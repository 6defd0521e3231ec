import { expect, inject, test } from "vitest";
import { describeWithRedis } from "./describe-with.ts";
import { pingRedis } from "./redis-server.ts";

describeWithRedis("the shared Redis", () => {
  test("answers", async () => {
    await expect(pingRedis(inject("redis")?.url ?? "")).resolves.toBeUndefined();
  });
});
