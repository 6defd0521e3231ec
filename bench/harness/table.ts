import { readdirSync, readFileSync, writeFileSync } from "node:fs";

const RESULTS = new URL("../results/", import.meta.url);
const README = new URL("../../README.md", import.meta.url);
const TABLE = /(<!-- bench -->\n).*?(\n<!-- \/bench -->)/s;

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
  return { is, should: is.replace(TABLE, (_, before: string, after: string) => before + benchTable() + after) };
}

export function writeTable(): void {
  writeFileSync(README, readmeWithTable().should);
}

function short(value: number): string {
  return String(Math.round(value * 100) / 100);
}
