import { test } from "vitest";

test("leaves a rejection unheard", async () => {
  void Promise.reject(new Error("seed 4711 was not heard"));
  await new Promise((resolve) => setTimeout(resolve, 50));
});
