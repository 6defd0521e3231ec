import { expect, it } from "vitest";
import { benchTable, pagesWithTables } from "../../bench/harness/table.ts";

it("the pages on performance show the committed results of the benches, as `npm run bench` writes them", () => {
  const pages = pagesWithTables();
  expect(pages.map(({ page }) => page)).toEqual(["docs/performance/results.md", "docs/performance/alternatives.md"]);
  for (const { is, should, page } of pages) expect(is, page).toBe(should);
});

it("the table has a line for every speed that is kept", () => {
  expect(benchTable().match(/^\| `[a-z0-9-]+` \|/gm)?.length).toBeGreaterThan(7);
});
