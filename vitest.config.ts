import { availableParallelism } from "node:os";
import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["src/**/*.test.ts", "test/**/*.test.ts"],
    globalSetup: ["test/support/global-setup.ts"],
    // Tests start servers of their own: a process each keeps their signals, environment and exits apart.
    pool: "forks",
    // More than cores: many tests wait for servers, leases and restarts most of their time.
    maxWorkers: availableParallelism() + 1,
    // Milliseconds. Long enough for a first start of PGlite (3.4 s alone) on a busy machine with two cores.
    testTimeout: 30_000,
    hookTimeout: 60_000,
    teardownTimeout: 20_000,
  },
});
