import { printable } from "./printable.ts";
import { formatTable } from "./table.ts";
import { cutTo, widthOf } from "./width.ts";

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
