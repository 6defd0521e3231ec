import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { alternativesTable } from "./alternatives-table.ts";

const RESULTS = new URL("../results/", import.meta.url);
const TABLES = [
  {
    page: "docs/performance/results.md",
    place: /(<!-- bench -->\n).*?(\n<!-- \/bench -->)/s,
    make: benchTable,
  },
  {
    page: "docs/performance/alternatives.md",
    place: /(<!-- alternatives -->\n).*?(\n<!-- \/alternatives -->)/s,
    make: alternativesTable,
  },
];

/** A page with a generated table. */
interface TablePage {
  readonly page: string;
  /** Its text now. */
  readonly is: string;
  /** Its text with the table of the committed results; undefined if the page has no place for the table. */
  readonly should: string | undefined;
}

interface Result {
  readonly id: string;
  readonly question: string;
  readonly reference: string;
  readonly ratio: number;
  readonly goal: number;
  readonly isReached: boolean;
}

/** The table of all benches, from the committed results. */
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

/** The pages with tables, as they are and as they should be. */
export function pagesWithTables(): TablePage[] {
  return TABLES.map(({ page, place, make }) => {
    const is = readFileSync(urlOf(page), "utf8");
    const should = is.replace(place, (_, before: string, after: string) => before + make() + after);
    return { page, is, should: place.test(is) ? should : undefined };
  });
}

export function writeTables(): void {
  for (const { page, should } of pagesWithTables()) {
    if (should === undefined) throw new Error(`${page} has no place for its table; restore the comments around it`);
    writeFileSync(urlOf(page), should);
  }
}

function urlOf(page: string): URL {
  return new URL(`../../${page}`, import.meta.url);
}

function short(value: number): string {
  return String(Math.round(value * 100) / 100);
}
