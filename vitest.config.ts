import { availableParallelism } from "node:os";
import { defineConfig } from "vitest/config";
import { BaseSequencer, type TestSpecification } from "vitest/node";

/** Files that take a minute or more: begun last, one of them would run alone at the end. */
const LONG = /test\/(ha\/|cluster\/(chaos|agents|agent-usage|usage-accounting|limits)|simulation\/|repo\/)/;

class LongFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files);
    const isLong = ({ moduleId }: TestSpecification) => LONG.test(moduleId);
    return [...sorted.filter(isLong), ...sorted.filter((file) => !isLong(file))];
  }
}

export default defineConfig({
  test: {
    include: ["src/**/*.test.ts", "test/**/*.test.ts"],
    setupFiles: ["test/support/expect-nothing-unheard.ts"],
    globalSetup: ["test/support/global-setup.ts"],
    // Tests start servers of their own: a process each keeps their signals, environment and exits apart.
    pool: "forks",
    execArgv: ["--import", new URL("test/support/shorten-imports.ts", import.meta.url).href],
    // Tests wait for servers half of their time. A share would be taken for the cores at most.
    maxWorkers: availableParallelism() + 1,
    sequence: { sequencer: LongFirst },
    // Milliseconds. Long enough for a first start of PGlite (3.4 s alone) on a busy machine with two cores.
    testTimeout: 60_000,
    hookTimeout: 60_000,
    teardownTimeout: 20_000,
  },
});
