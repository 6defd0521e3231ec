import { InvalidArgumentError } from "commander";
import { DAY_MS, HOUR_MS, MINUTE_MS } from "../../system/clocks.ts";

/** A hundred years: a longer span is a typing error, and added to an instant might leave what a date can hold. */
const LONGEST_MS = 36_500 * DAY_MS;

const FORM = /^(\d{1,9})(ms|s|m|h|d)$/;

const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: MINUTE_MS, h: HOUR_MS, d: DAY_MS };

/** A span for people, in the largest unit that divides it: `90 d`, `15 s`, `50 ms`. */
export function describeSpan(ms: number): string {
  const units = Object.entries(UNITS).reverse();
  const [unit, factor] = units.find(([, each]) => ms >= each && ms % each === 0) ?? ["ms", 1];
  return `${ms / factor} ${unit}`;
}

/** A measured span for people, rounded to the unit in which it has a digit: `3 d`, `15 s`, `50 ms`. */
export function roundSpan(ms: number): string {
  const units = Object.entries(UNITS).reverse();
  const [unit, factor] = units.find(([, each]) => ms >= each) ?? ["ms", 1];
  return `${Math.round(ms / factor)} ${unit}`;
}

/** Whether a text has the form of a span. */
export function isDuration(text: string): boolean {
  return text === "0" || FORM.test(text);
}

/**
 * Reads a span such as `90d`, `24h`, `15m`, `30s`, `500ms` or `0`.
 *
 * @returns milliseconds
 * @throws InvalidArgumentError that says the shape
 */
export function parseDuration(text: string): number {
  if (text === "0") return 0;
  const [, count, unit] = FORM.exec(text) ?? [];
  const factor = UNITS[unit ?? ""];
  const milliseconds = Number(count) * (factor ?? Number.NaN);
  if (!(milliseconds <= LONGEST_MS)) {
    throw new InvalidArgumentError(
      "Write a whole number and d, h, m, s or ms, such as 90d or 500ms, or 0; at most 36500d",
    );
  }
  return milliseconds;
}
