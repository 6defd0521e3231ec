import { availableParallelism } from "node:os";
import { defineConfig } from "vitest/config";
import { BaseSequencer, type TestSpecification } from "vitest/node";
import { findLongTests } from "./scripts/long-tests.ts";

/** More files that take a minute or so: begun last, one of them would run alone at the end. */
const RATHER_LONG = /test\/(cluster\/limits|simulation\/|repo\/)/;

class LongFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files);
    const long = findLongTests();
    const isLong = ({ moduleId }: TestSpecification) =>
      RATHER_LONG.test(moduleId) || long.some((file) => moduleId.endsWith(file));
    return [...sorted.filter(isLong), ...sorted.filter((file) => !isLong(file))];
  }
}

export default defineConfig({
  test: {
    include: ["src/**/*.test.ts", "test/**/*.test.ts", "testkit/**/*.test.ts"],
    setupFiles: ["testkit/expect-nothing-unheard.ts"],
    globalSetup: ["testkit/global-setup.ts"],
    // Tests start servers of their own: a process each keeps their signals, environment and exits apart.
    pool: "forks",
    execArgv: ["--import", new URL("testkit/shorten-imports.ts", import.meta.url).href],
    // Tests wait for servers half of their time. A share would be taken for the cores at most.
    maxWorkers: availableParallelism() + 1,
    sequence: { sequencer: LongFirst },
    // Milliseconds. They end what hangs, and hold on a machine that is three times as slow as two quiet cores: there no
    // test without a limit of its own takes more than 60 s.
    testTimeout: 180_000,
    hookTimeout: 180_000,
    teardownTimeout: 20_000,
  },
});
