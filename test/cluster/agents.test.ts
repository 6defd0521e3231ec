import { expect, it } from "vitest";
import { describeWithPostgres, describeWithRedis } from "../../testkit/describe-with.ts";
import type { Mutation } from "../../testkit/mutation.ts";
import { type ChaosReport, runChaos } from "../chaos/run-chaos.ts";

/** Longest time of a control: its run, the patience of one that shows nothing, and a slow machine's starts. */
const CONTROL_MS = 400_000;
const SEED = 7;
const OPTIONS = { seed: SEED, joining: 0, leaseMs: 1000, onDatabaseLoss: "deny" } as const;

/** What breaks agents, and nodes that have leased to them. */
const NEMESES = [
  ...["agents: SIGSTOP", "agents: links hang", "agents: links reset", "agents: links halfClose"],
  ...["agents: SIGKILL", "agents: links slow, then dead", "agents: links cut off"],
  ...["node: SIGKILL while it revokes", "node: SIGSTOP until it is collected", "node: SIGTERM"],
];

interface Control {
  readonly rule: string;
  readonly nemesis: string;
  readonly mutate?: readonly Mutation[];
  readonly mutateAgents?: readonly Mutation[];
}

const CONTROLS: readonly Control[] = [
  {
    rule: "acknowledgements that wait for streams",
    nemesis: "agents: links hang",
    mutate: [
      {
        file: "src/revocation/child-leases.ts",
        find: "&& withholds(change, revision)",
        replace: "&& false",
      },
      {
        file: "src/revocation/child-leases.ts",
        find: "least = Math.min(least, change.after);",
        replace: "void change;",
      },
    ],
  },
  {
    rule: "a lease that is counted from before it was asked for",
    nemesis: "agents: links slow, then dead",
    mutateAgents: [
      {
        file: "src/sdk/verifier/sync-link.ts",
        find: "lease.grant(request.since, termMs);",
        replace: "lease.grant(readMoment(this.#options.clocks), termMs);",
      },
    ],
  },
  {
    rule: "a stream that is waited for until its lease is over",
    nemesis: "agents: links cut off",
    mutate: [
      {
        file: "src/revocation/child-lease.ts",
        find: "  close(): void {\n",
        replace: "  close(): void {\n    this.giveBack();\n",
      },
    ],
  },
];

function told({ counts, agents, crashes, strikes, revocationMs, isVoidBecause }: ChaosReport): string {
  return JSON.stringify({ seed: SEED, counts, agents, crashes, strikes, revocationMs, isVoidBecause }, null, 2);
}

describeWithPostgres("agents with the SDK on three nodes", () => {
  describeWithRedis("of which everything breaks, their links too,", () => {
    it("never say VALID to a call that began after a narrowing one was answered", async () => {
      const report = await runChaos({ ...OPTIONS, nodes: 3, agents: 16, seconds: 25, nemeses: NEMESES });
      expect(report.violations, told(report)).toEqual([]);
      expect(report.crashes, told(report)).toEqual([]);
      expect(report.isVoidBecause, told(report)).toEqual([]);
    }, 400_000);

    it.each(CONTROLS)(
      "control: do, without $rule",
      async ({ nemesis, rule: _, ...mutations }) => {
        const control = { nodes: 2, agents: 6, seconds: 100, untilViolation: true, nemeses: [nemesis] } as const;
        const report = await runChaos({ ...OPTIONS, ...control, ...mutations });
        expect(report.violations.length, told(report)).toBeGreaterThan(0);
        expect(report.violations[0]?.by).toMatch(/^agent /);
      },
      CONTROL_MS,
    );
  });
});
