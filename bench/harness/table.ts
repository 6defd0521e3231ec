import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { alternativesTable } from "./alternatives-table.ts";

const RESULTS = new URL("../results/", import.meta.url);
const README = new URL("../../README.md", import.meta.url);
const TABLES = {
  bench: { place: /(<!-- bench -->\n).*?(\n<!-- \/bench -->)/s, make: benchTable },
  alternatives: { place: /(<!-- alternatives -->\n).*?(\n<!-- \/alternatives -->)/s, make: alternativesTable },
};

interface Result {
  readonly id: string;
  readonly question: string;
  readonly reference: string;
  readonly ratio: number;
  readonly goal: number;
  readonly isReached: boolean;
}

/** The table of README, from the results that are kept. */
export function benchTable(): string {
  const rows = readdirSync(RESULTS)
    .map((file): Partial<Result> => JSON.parse(readFileSync(new URL(file, RESULTS), "utf8")))
    .filter((result): result is Result => result.id !== undefined)
    .sort((a, b) => a.id.localeCompare(b.id, "en", { numeric: true }))
    .map(
      ({ id, question, reference, ratio, goal, isReached }) =>
        `| \`${id}\` | ${question} | ${reference} | ${short(ratio)} | ${short(goal)} | ${isReached ? "yes" : "no"} |`,
    );
  return ["| | measured | against | ratio | goal | reached |", "|---|---|---|---|---|---|", ...rows].join("\n");
}

/** README as it is, and as it should be. */
export function readmeWithTable(): { readonly is: string; readonly should: string } {
  const is = readFileSync(README, "utf8");
  const should = Object.values(TABLES).reduce(
    (text, { place, make }) => text.replace(place, (_, before: string, after: string) => before + make() + after),
    is,
  );
  return { is, should };
}

export function writeTable(): void {
  writeFileSync(README, readmeWithTable().should);
}

function short(value: number): string {
  return String(Math.round(value * 100) / 100);
}
