import { test } from "vitest";

test("hangs", { timeout: 600_000 }, async () => {
  process.stdout.write(`worker ${process.pid}\n`);
  await new Promise((resolve) => setTimeout(resolve, 600_000));
});
