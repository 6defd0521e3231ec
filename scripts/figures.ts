import { execFileSync } from "node:child_process";
import { globSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { findOddities, passagesOfCode } from "./plain-english.ts";

/**
 * Prints the figures of the house: how large its files and folders are, and how plain its language is.
 *
 * `npm run figures [-- --json]`
 */

interface SourceText {
  readonly path: string;
  readonly text: string;
}

export interface SourceFigures {
  readonly files: number;
  readonly lines: number;
  readonly medianLines: number;
  readonly p90Lines: number;
  readonly longest: { readonly path: string; readonly lines: number };
  /** Files of at most 20 lines. */
  readonly shortFiles: number;
  /** The folder with the most files directly in it. */
  readonly largestFolder: { readonly path: string; readonly files: number };
  /** Lines of comments in all lines, in percent. */
  readonly commentShare: number;
  readonly commentWords: number;
  /** Matches of the patterns of plain-english.ts in comments, and for each 1,000 words of comments. */
  readonly oddities: number;
  readonly odditiesPerThousandWords: number;
  readonly odditiesByPattern: Readonly<Record<string, number>>;
}

export interface HouseFigures extends SourceFigures {
  readonly readmeLines: number;
  /** Commits of the last 200 with a subject of more than 72 characters. */
  readonly longSubjects: number;
  readonly subjects: number;
}

const SHORT_FILE = 20;
const LONG_SUBJECT = 72;
const ROOT = fileURLToPath(new URL("..", import.meta.url));

/** The figures of source files. */
export function measureSources(sources: readonly SourceText[]): SourceFigures {
  const files = sources.map(({ path, text }) => ({ path, lines: text.replace(/\n$/, "").split("\n").length }));
  const lengths = files.map(({ lines }) => lines);
  const lines = sum(lengths);
  const comments = sources.flatMap(({ text }) => passagesOfCode(text).filter(({ kind }) => kind === "comment"));
  const commentWords = sum(comments.map(({ text }) => text.split(/\s+/).filter((word) => /\w/.test(word)).length));
  const found = findOddities(comments);
  const folders = countBy(files.map(({ path }) => dirname(path)));
  const [folder = ["", 0]] = Object.entries(folders).sort(([, left], [, right]) => right - left);
  const [longest = { path: "", lines: 0 }] = files.toSorted((left, right) => right.lines - left.lines);
  return {
    files: files.length,
    lines,
    medianLines: quantile(lengths, 0.5),
    p90Lines: quantile(lengths, 0.9),
    longest,
    shortFiles: lengths.filter((length) => length <= SHORT_FILE).length,
    largestFolder: { path: folder[0], files: folder[1] },
    commentShare: round((100 * sum(comments.map((comment) => comment.lines))) / Math.max(1, lines)),
    commentWords,
    oddities: found.length,
    odditiesPerThousandWords: round((1000 * found.length) / Math.max(1, commentWords)),
    odditiesByPattern: countBy(found.map(({ name }) => name)),
  };
}

/** The figures of this repository. */
export function measureHouse(): HouseFigures {
  const paths = globSync("src/**/*.ts", { cwd: ROOT }).filter((path) => !path.endsWith(".test.ts"));
  const sources = paths.sort().map((path) => ({ path, text: readFileSync(join(ROOT, path), "utf8") }));
  const log = execFileSync("git", ["log", "-200", "--format=%s"], { cwd: ROOT, encoding: "utf8" });
  const subjects = log.split("\n").filter((subject) => subject !== "");
  return {
    ...measureSources(sources),
    readmeLines: readFileSync(join(ROOT, "README.md"), "utf8").trimEnd().split("\n").length,
    longSubjects: subjects.filter((subject) => subject.length > LONG_SUBJECT).length,
    subjects: subjects.length,
  };
}

/** The figures as lines for people. */
export function describeFigures(figures: HouseFigures): string {
  const { longest, largestFolder } = figures;
  const rows: [string, string | number][] = [
    ["source files (src without tests)", figures.files],
    ["lines", figures.lines],
    ["lines per file, median", figures.medianLines],
    ["lines per file, p90", figures.p90Lines],
    ["longest file", `${longest.lines} (${longest.path})`],
    [`files of at most ${SHORT_FILE} lines`, figures.shortFiles],
    ["most files in one folder", `${largestFolder.files} (${largestFolder.path})`],
    ["comment share", `${figures.commentShare} %`],
    ["words of comments", figures.commentWords],
    ["oddities per 1,000 words of comments", `${figures.odditiesPerThousandWords} (${figures.oddities})`],
    ...Object.entries(figures.odditiesByPattern).map(([name, count]): [string, number] => [`  ${name}`, count]),
    ["README lines", figures.readmeLines],
    [`commit subjects above ${LONG_SUBJECT} characters`, `${figures.longSubjects} of the last ${figures.subjects}`],
  ];
  const width = Math.max(...rows.map(([name]) => name.length));
  return rows.map(([name, value]) => `${name.padEnd(width)}  ${value}\n`).join("");
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}

/** The smallest value that at least that share of the values does not exceed. */
function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((left, right) => left - right);
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? 0;
}

/** How often each value occurs, the most frequent first. */
function countBy(values: readonly string[]): Record<string, number> {
  const counts = new Map<string, number>();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  return Object.fromEntries([...counts].sort(([, left], [, right]) => right - left));
}

if (import.meta.main) {
  const figures = measureHouse();
  process.stdout.write(
    process.argv.includes("--json") ? `${JSON.stringify(figures, null, 2)}\n` : describeFigures(figures),
  );
}
