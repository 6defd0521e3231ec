/** Widest bar, in characters. */
const WIDTH = 40;
/** Eighths of a block, thinnest first. */
const EIGHTHS = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"] as const;

/** A bar per count, the largest at full width; nothing for 0, and something for anything above. */
export function drawBars(counts: readonly number[]): string[] {
  const most = Math.max(1, ...counts);
  return counts.map((count) => {
    const eighths = count === 0 ? 0 : Math.max(1, Math.round((count / most) * WIDTH * 8));
    return "█".repeat(Math.floor(eighths / 8)) + (EIGHTHS[eighths % 8] ?? "");
  });
}
