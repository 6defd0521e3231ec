import { invalidField } from "../keys/errors.ts";
import { DAY_MS, HOUR_MS, MINUTE_MS } from "../system/clocks.ts";

/** The requested duration, or the default; `INVALID_FIELD` if the policy does not allow it. In milliseconds. */
export function chooseSpan(
  field: string,
  asked: number | undefined,
  policy: { readonly default: number; readonly max: number },
): number {
  if (asked === undefined) return policy.default;
  if (asked > policy.max) throw invalidField(field, `must be at most ${describeSpan(policy.max)}`);
  return asked;
}

const UNITS = [
  ["day", DAY_MS],
  ["hour", HOUR_MS],
  ["minute", MINUTE_MS],
  ["second", 1000],
] as const;

/** Formats milliseconds in the largest unit that divides them: `90 days`, `24 hours`. */
function describeSpan(ms: number): string {
  const [unit, unitMs] = UNITS.find(([name, each]) => ms % each === 0 && (name !== "day" || ms > each)) ?? ["ms", 1];
  const count = ms / unitMs;
  return `${count} ${unit}${count === 1 || unit === "ms" ? "" : "s"}`;
}

/** `time` + `spanMs`. */
export function after(time: Date, spanMs: number): Date {
  return new Date(time.getTime() + spanMs);
}
