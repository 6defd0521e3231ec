import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/repo/run-tests-fixtures/*.fixture.ts"],
    provide: { postgres: undefined, redis: undefined },
    // One that hangs leaves room for another.
    maxWorkers: 2,
  },
});
