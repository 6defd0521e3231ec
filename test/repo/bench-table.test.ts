import { expect, it } from "vitest";
import { benchTable, readmeWithTable } from "../../bench/harness/table.ts";

it("README shows the results of the benches that are kept, made anew by `npm run bench`", () => {
  const { is, should } = readmeWithTable();
  for (const place of ["<!-- bench -->", "<!-- alternatives -->"]) expect(is).toContain(place);
  expect(is).toBe(should);
});

it("the table has a line for every speed that is kept", () => {
  expect(benchTable().match(/^\| `s\d+` \|/gm)?.length).toBeGreaterThan(7);
});
