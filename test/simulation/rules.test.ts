import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { mutate } from "../support/mutation.ts";
import { outputOf } from "../support/run-program.ts";
import { DIRECTED } from "./directed.ts";
import { RULES } from "./rules.ts";
import { simulate } from "./simulate.ts";

const RUNNER = fileURLToPath(new URL("./run-rule.ts", import.meta.url));

/** Far more than any of them takes. */
const MOST_SEEDS = 6000;
const MOST_DIRECTED = 300;
const HELD_SEEDS = 60;

describe("without the rule that", () => {
  it.each(RULES)(
    "$rule ($id), the promise is broken, and that is seen",
    async ({ without, schedule }) => {
      const most = schedule === undefined ? MOST_SEEDS : MOST_DIRECTED;
      const args = [RUNNER, String(most), ...(schedule === undefined ? [] : [schedule])];
      const printed = await outputOf(process.execPath, args, { env: mutate(...without) });
      expect(JSON.parse(printed).violation).toContain("is VALID");
    },
    60_000,
  );

  it("nothing of another timeline is acknowledged, the promise is broken, and that is seen", async () => {
    const direct = DIRECTED["a backup is restored"];
    if (direct === undefined) throw new Error("the schedule is gone");
    const violations = [];
    for (let seed = 1; seed <= MOST_DIRECTED; seed++) {
      const flaws = { acksAcrossTimelines: true };
      violations.push((await simulate({ seed, direct, random: false, flaws })).violation);
    }
    expect(violations.filter((violation) => violation !== undefined)).not.toEqual([]);
  });
});

it("control: where a late registration acknowledges, the promise is broken, and that is seen", async () => {
  const { violation } = await simulate({ seed: 1_270_561, flaws: { registrationsAcknowledge: true } });
  expect(violation).toContain("is VALID");
});

describe("with all rules, the promise holds", () => {
  it.each(Object.keys(DIRECTED))("when %s", async (name) => {
    const direct = DIRECTED[name];
    if (direct === undefined) throw new Error("the schedule is gone");
    for (let seed = 1; seed <= HELD_SEEDS; seed++) {
      expect((await simulate({ seed, direct, random: false })).violation).toBeUndefined();
    }
  });
});
