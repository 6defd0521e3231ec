import { printable } from "./printable.ts";

/** Between two columns. */
const GAP = "  ";

/**
 * Lines up rows in columns.
 *
 * @param rows the first may be a header; rows may be of different lengths
 * @returns one line per row, without trailing spaces. Line breaks in a cell become spaces.
 */
export function formatTable(rows: readonly (readonly string[])[]): string {
  const cells = rows.map((row) => row.map((cell) => printable(cell.replace(/\s+/g, " "))));
  const widths: number[] = [];
  for (const row of cells) {
    for (const [column, cell] of row.entries()) widths[column] = Math.max(widths[column] ?? 0, widthOf(cell));
  }
  const lines = cells.map((row) => row.map((cell, column) => cell + " ".repeat((widths[column] ?? 0) - widthOf(cell))));
  return lines.map((line) => line.join(GAP).trimEnd()).join("\n");
}

/** Cuts a cell that would push the others off the screen. `length` counts characters. */
export function shorten(cell: string, length: number): string {
  const characters = [...cell];
  return characters.length <= length ? cell : `${characters.slice(0, length - 1).join("")}…`;
}

function widthOf(cell: string): number {
  return [...cell].length;
}
