import { cutTo, printable, widthOf, wrapTo } from "./printable.ts";

/** Between two columns. */
const GAP = "  ";
/** Cells of a named value, however narrow the terminal is. */
const LEAST_VALUE = 20;

/** A column of a list. */
export interface Column<Row> {
  readonly title: string;
  readonly cell: (row: Row) => string;
  /** The text for a narrow terminal. Default: the same. */
  readonly short?: (row: Row) => string;
  /** To how many cells it may be cut on a narrow terminal. Default: it is not, as an id that is cut is of no use. */
  readonly least?: number;
  /** Whether a narrow terminal goes without it; the highest number goes first. Default: it stays. */
  readonly dispensable?: number;
}

/**
 * Lines up rows in columns.
 *
 * @param rows the first may be a header; rows may be of different lengths
 * @returns one line per row, without trailing spaces. Line breaks in a cell become spaces.
 */
export function formatTable(rows: readonly (readonly string[])[]): string {
  const cells = rows.map((row) => row.map(oneLine));
  const widths = widthsOf(cells);
  const lines = cells.map((row) => row.map((cell, column) => cell + " ".repeat((widths[column] ?? 0) - widthOf(cell))));
  return lines.map((line) => line.join(GAP).trimEnd()).join("\n");
}

/**
 * Lines up named values, a line each.
 *
 * @param width cells in a line: a longer value goes on under its beginning. Undefined: each stays on one line.
 */
export function formatFacts(facts: readonly (readonly [string, string])[], width: number | undefined): string {
  const names = Math.max(0, ...facts.map(([name]) => widthOf(name))) + GAP.length;
  const left = width === undefined ? undefined : Math.max(LEAST_VALUE, width - names);
  const rows = facts.flatMap(([name, value]) =>
    wrapTo(oneLine(value), left)
      .split("\n")
      .map((line, at) => [at === 0 ? name : "", line]),
  );
  return formatTable(rows);
}

/**
 * Lines up a list under the titles of its columns.
 *
 * @param width cells in a line: a line that would be longer gets short cells, then fewer columns, then cut cells.
 *   Undefined: everything is shown in full.
 */
export function formatList<Row>(
  rows: readonly Row[],
  columns: readonly Column<Row>[],
  width: number | undefined,
): string {
  const full = render(rows, columns);
  if (width === undefined || lineOf(widthsOf(full)) <= width) return formatTable(full);
  let kept = columns.map((column) => ({ ...column, cell: column.short ?? column.cell }));
  while (leastLine(rows, kept) > width) {
    const last = kept.reduce((most, { dispensable = 0 }) => Math.max(most, dispensable), 0);
    if (last === 0) break;
    kept = kept.filter(({ dispensable }) => dispensable !== last);
  }
  return formatTable(shrink(render(rows, kept), kept, width));
}

function render<Row>(rows: readonly Row[], columns: readonly Column<Row>[]): string[][] {
  return [columns.map(({ title }) => title), ...rows.map((row) => columns.map(({ cell }) => oneLine(cell(row))))];
}

function leastLine<Row>(rows: readonly Row[], columns: readonly Column<Row>[]): number {
  const widths = widthsOf(render(rows, columns));
  return lineOf(widths.map((cells, at) => Math.min(cells, columns[at]?.least ?? cells)));
}

/** Takes what is too much from the widest of the columns that may be cut, cell by cell. */
function shrink(rows: string[][], columns: readonly { readonly least?: number }[], width: number): string[][] {
  const widths = widthsOf(rows);
  while (lineOf(widths) > width) {
    const candidates = widths.map((cells, at) => (cells > (columns[at]?.least ?? cells) ? cells : 0));
    const widest = Math.max(...candidates);
    if (widest === 0) break;
    widths[candidates.indexOf(widest)] = widest - 1;
  }
  return rows.map((row) => row.map((cell, at) => (columns[at]?.least ? cutTo(cell, widths[at] ?? 0) : cell)));
}

function widthsOf(rows: readonly (readonly string[])[]): number[] {
  const widths: number[] = [];
  for (const row of rows) {
    for (const [column, cell] of row.entries()) widths[column] = Math.max(widths[column] ?? 0, widthOf(cell));
  }
  return widths;
}

function lineOf(widths: readonly number[]): number {
  return widths.reduce((sum, cells) => sum + cells, 0) + GAP.length * Math.max(0, widths.length - 1);
}

function oneLine(cell: string): string {
  return printable(cell.replace(/\s+/g, " "));
}

/** Widest bar, in cells. */
const LONGEST_BAR = 40;
/** Narrowest bar that a name is cut for, in cells. */
const SHORTEST_BAR = 10;
/** Eighths of a block, thinnest first. */
const EIGHTHS = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"] as const;

/**
 * A line for each name: the name, its count and a bar.
 *
 * @param width cells in a line; undefined: names are not cut
 */
export function formatBars(rows: readonly (readonly [name: string, count: number])[], width = Infinity): string {
  const countCells = Math.max(...rows.map(([, count]) => String(count).length));
  const left = width - countCells - 4;
  const names = rows.map(([name]) => cutTo(printable(name), Math.max(SHORTEST_BAR, left - SHORTEST_BAR)));
  const barCells = Math.min(LONGEST_BAR, left - Math.max(...names.map(widthOf)));
  const bars = drawBars(
    rows.map(([, count]) => count),
    Math.max(SHORTEST_BAR, barCells),
  );
  return formatTable(rows.map(([, count], at) => [names[at] ?? "", String(count), bars[at] ?? ""]));
}

/** A bar per count, the largest at full width; nothing for 0, and something for anything above. */
export function drawBars(counts: readonly number[], width = LONGEST_BAR): string[] {
  const most = Math.max(1, ...counts);
  return counts.map((count) => {
    const eighths = count === 0 ? 0 : Math.max(1, Math.round((count / most) * width * 8));
    return "█".repeat(Math.floor(eighths / 8)) + (EIGHTHS[eighths % 8] ?? "");
  });
}
