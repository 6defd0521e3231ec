import { availableParallelism } from "node:os";
import { defineConfig } from "vitest/config";
import { BaseSequencer, type TestSpecification } from "vitest/node";
import { findLongTests } from "./scripts/long-tests.ts";

/** More files that take a minute or so: begun last, one of them would run alone at the end. */
const RATHER_LONG = /test\/(cluster\/|simulation\/|repo\/)/;
/** Long files that wait for failovers and timeouts for two thirds of their time. */
const WAITING =
  /test\/(ha\/|cluster\/(agent-outages|database-loss|revocation-bounds)|repo\/leak-canary|sdk\/flooded-address)/;

/** Begins with the long files, and with one that waits after each that computes, so that the cores are busy all the time. */
class LongFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files);
    const longTests = findLongTests();
    const isLong = ({ moduleId }: TestSpecification) =>
      RATHER_LONG.test(moduleId) || longTests.some((file) => moduleId.endsWith(file));
    const [long, short] = partition(sorted, isLong);
    const [waiting, computing] = partition(long, ({ moduleId }) => WAITING.test(moduleId));
    return [...alternate(computing, waiting), ...short];
  }
}

function partition<T>(items: readonly T[], belongs: (item: T) => boolean): [T[], T[]] {
  return [items.filter(belongs), items.filter((item) => !belongs(item))];
}

function alternate<T>(some: readonly T[], others: readonly T[]): T[] {
  const longer = Math.max(some.length, others.length);
  return Array.from({ length: longer }, (_, at) => [some[at], others[at]])
    .flat()
    .filter((item) => item !== undefined);
}

/** Paths are from the root of the repository. */
const COMMON = {
  setupFiles: ["testkit/expect-nothing-unheard.ts"],
  pool: "forks" as const,
  execArgv: ["--import", new URL("testkit/shorten-imports.ts", import.meta.url).href],
  // Tests wait for servers and failovers more than half of their time: the long ones and their servers compute for 0.45 s
  // of each second. A share would be taken for the cores at most.
  maxWorkers: availableParallelism() + 2,
  // Milliseconds. They end what hangs, and hold on a machine that is three times as slow as two quiet cores: there no
  // test without a limit of its own takes more than 60 s.
  testTimeout: 180_000,
  hookTimeout: 180_000,
  teardownTimeout: 20_000,
};

export default defineConfig({
  test: {
    ...COMMON,
    // Projects inherit what it provides, and have none of their own: it runs once.
    globalSetup: ["testkit/global-setup.ts"],
    sequence: { sequencer: LongFirst },
    projects: [
      // Modules have no state, so that files can share a process. A process each takes twice the CPU.
      { test: { ...COMMON, name: "source", include: ["src/**/*.test.ts"], isolate: false } },
      // Tests start servers of their own: a process each keeps their signals, environment and exits apart.
      { test: { ...COMMON, name: "system", include: ["test/**/*.test.ts", "testkit/**/*.test.ts"] } },
    ],
  },
});
