import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { mutate } from "../../testkit/mutation.ts";
import { outputOf } from "../../testkit/run-program.ts";
import { BEYOND, DIRECTED, type Direct } from "./directed.ts";
import { type Played, playRule } from "./play-rule.ts";
import { RULES, type Rule } from "./rules.ts";
import { simulate } from "./simulate.ts";

const RUNNER = fileURLToPath(new URL("./run-rule.ts", import.meta.url));

/** Far more than any of them takes. */
const MOST_SEEDS = 6000;
const MOST_DIRECTED = 300;
const HELD_SEEDS = 60;

function directOf(schedule: string): Direct {
  const direct = DIRECTED[schedule];
  if (direct === undefined) throw new Error(`no schedule is called ${schedule}`);
  return direct;
}

/** In a process of its own, which loads the product as the mutations leave it. */
async function playMutated(id: string, most: number, without: Rule["without"]): Promise<Played> {
  return JSON.parse(await outputOf(process.execPath, [RUNNER, String(most), id], { env: mutate(...without) }));
}

describe("without the rule that", () => {
  it.each(RULES)(
    "$rule ($id), the promise is broken, and that is seen",
    async ({ id, without, schedule, says = "is VALID" }) => {
      const most = schedule === undefined ? MOST_SEEDS : MOST_DIRECTED;
      const { seed, violation } =
        without.length === 0 ? await playRule(id, most) : await playMutated(id, most, without);
      expect(violation).toContain(says);
      // With the rule, the same schedule holds: it is the rule that was seen.
      const how = schedule === undefined ? {} : { direct: directOf(schedule), play: "none" as const };
      expect((await simulate({ seed, ...how })).violation).toBeUndefined();
    },
    60_000,
  );

  it.each(Array.from({ length: 20 }, (_, index) => `R${index + 1}`))("is called %s, one is shown here", (id) => {
    expect(RULES.filter((rule) => rule.id.split(",")[0] === id)).not.toEqual([]);
  });

  // In the order of docs/protocol/sync.md.
  it.each([
    ["acknowledgements that ignore streams", "N1"],
    ["a lease counted from receipt", "N2"],
    ["no reset", "N3"],
    ["a closed stream that leaves at once", "N4"],
    ["a stream that joins late", "N5"],
    ["an exit that deletes the row", "N6"],
    ["no margin", "N7"],
    ["reordering", "N8"],
  ])("has the hole that is %s, one is shown here (%s)", (_, id) => {
    expect(RULES.filter((rule) => rule.id === id)).toHaveLength(1);
  });
});

it("control: where a late registration acknowledges, the promise is broken, and that is seen", async () => {
  const { violation } = await simulate({
    ...{ seed: 1_270_561, agents: "none", flaws: { registrationsAcknowledge: true } },
  });
  expect(violation).toContain("is VALID");
});

describe("with all rules, the promise holds", () => {
  it.each(Object.keys(DIRECTED))("when %s", async (name) => {
    for (let seed = 1; seed <= HELD_SEEDS; seed++) {
      const { violation, trace } = await simulate({ seed, direct: directOf(name), play: "none" });
      expect(violation, trace.join("\n")).toBeUndefined();
    }
  });
});

describe("control: beyond its assumptions the promise ends", () => {
  it.each(Object.entries(BEYOND))("where %s", async (_, direct) => {
    expect((await simulate({ seed: 1, direct, play: "none" })).violation).toContain("is VALID");
  });
});
