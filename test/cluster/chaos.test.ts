import { expect, it } from "vitest";
import { describeWithPostgres, describeWithRedis } from "../../testkit/describe-with.ts";
import type { Mutation } from "../../testkit/mutation.ts";
import { type ChaosReport, runChaos } from "../chaos/run-chaos.ts";

/** Longest time of a control: its run, the patience of one that shows nothing, and a slow machine's starts. */
const CONTROL_MS = 400_000;
const SEED = 1;
const LEASE_MS = 1000;
const OPTIONS = { seed: SEED, nodes: 3, joining: 1, leaseMs: LEASE_MS, onDatabaseLoss: "deny" } as const;

/** What each nemesis is, in a build that lacks a rule. */
const CONTROLS: readonly [rule: string, nemeses: readonly string[], mutate: readonly Mutation[]][] = [
  [
    "R6: a renewal does not bring the feed",
    ["redis: refuse", "redis: hang"],
    [
      {
        file: "src/revocation/feed.ts",
        find: 'if (keyIds === "all" || keyIds.length > 0) this.#options.cache.apply(keyIds);',
        replace: "",
      },
    ],
  ],
  [
    "R9: OK comes at once",
    ["node: blocked event loop", "redis: latency"],
    [
      {
        file: "src/revocation/judge.ts",
        find: "if (silent.length > 0 && leftMs > 0)",
        replace: "if (false)",
      },
    ],
  ],
  [
    "R2: the lease has no end",
    ["node: cut off"],
    [{ file: "src/verify/lease.ts", find: "return this.remainingMs(now) > 0;", replace: "return this.#termMs > 0;" }],
  ],
  [
    "R5: a registration keeps the cache",
    ["node: cut off"],
    [{ file: "src/revocation/feed.ts", find: "    this.#options.cache.clear();\n", replace: "" }],
  ],
  [
    "R10: a third of the wait is enough",
    ["node: cut off", "node: SIGSTOP"],
    [
      {
        file: "src/revocation/judge.ts",
        find: "waitingTime(termMs, clockRateError);",
        replace: "waitingTime(termMs, clockRateError) / 3;",
      },
    ],
  ],
];

function told({ counts, strikes, revocationMs, isVoidBecause }: ChaosReport): string {
  return JSON.stringify({ seed: SEED, counts, strikes, revocationMs, isVoidBecause }, null, 2);
}

describeWithPostgres("three nodes of which everything breaks", () => {
  describeWithRedis("with Postgres and Redis through proxies", () => {
    it("never say VALID to a call that began after a narrowing one was answered", async () => {
      const report = await runChaos({ ...OPTIONS, seconds: 50 });
      expect(report.violations, told(report)).toEqual([]);
      expect(report.isVoidBecause, told(report)).toEqual([]);
    }, 400_000);

    it.each(CONTROLS)(
      "control: do, without %s",
      async (_rule, nemeses, mutate) => {
        const control = { joining: 0, seconds: 100, untilViolation: true, nemeses, mutate } as const;
        const report = await runChaos({ ...OPTIONS, ...control });
        expect(report.violations.length, told(report)).toBeGreaterThan(0);
      },
      CONTROL_MS,
    );
  });
});
