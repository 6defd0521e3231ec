import { expect, it } from "vitest";
import { describeFigures, measureSources } from "../../scripts/figures.ts";

const ODD = `/** Whoever asks is told. */
export const one = 1; // Of a long rest not all.
const notAComment = "nobody // Of two";
`;
const PLAIN = `/**
 * Limits concurrent reads.
 */
export const two = \`\${"// no comment"} /* none */\`;
const expression = /\\/\\/ nobody/;
`;

it("The figures of sources count files, lines, comments and oddities of comments", () => {
  const long = { path: "src/b/c.ts", text: "export {};\n".repeat(30) };
  const figures = measureSources([{ path: "src/a/a.ts", text: ODD }, { path: "src/a/b.ts", text: PLAIN }, long]);
  expect(figures).toEqual({
    files: 3,
    lines: 38,
    medianLines: 5,
    p90Lines: 30,
    longest: { path: "src/b/c.ts", lines: 30 },
    shortFiles: 2,
    largestFolder: { path: "src/a", files: 2 },
    commentShare: 13.2,
    commentWords: 13,
    oddities: 3,
    odditiesPerThousandWords: 230.8,
    odditiesByPattern: {
      "indefinite pronoun as an actor": 1,
      "told without an actor": 1,
      "Of … as an opening": 1,
    },
  });
});

it("The figures of no source are zero", () => {
  const figures = measureSources([]);
  expect(figures).toMatchObject({ files: 0, lines: 0, medianLines: 0, oddities: 0, odditiesPerThousandWords: 0 });
});

it("The printed figures name each figure once", () => {
  const text = describeFigures({ ...measureSources([]), readmeLines: 7, longSubjects: 3, subjects: 200 });
  const names = text
    .trimEnd()
    .split("\n")
    .map((line) => line.split("  ")[0]);
  expect(new Set(names).size).toBe(names.length);
  expect(text).toContain("3 of the last 200");
});
