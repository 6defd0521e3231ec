import { type Timestamp, timestampDate } from "@bufbuild/protobuf/wkt";

const STEPS = [
  { unit: "second", ms: 1_000, below: 2 * 60_000 },
  { unit: "minute", ms: 60_000, below: 2 * 3_600_000 },
  { unit: "hour", ms: 3_600_000, below: 2 * 86_400_000 },
] as const;

/**
 * An instant for people, in UTC: `2027-02-20 (in 90 days)`, within two days `2027-02-20 14:05 (in 3 hours)`.
 *
 * @returns `–` for an instant that is not set
 */
export function describeTime(timestamp: Timestamp | undefined, now: Date): string {
  if (timestamp === undefined) return "–";
  const date = timestampDate(timestamp);
  const away = date.getTime() - now.getTime();
  const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
  const near = STEPS.find(({ below }) => Math.abs(away) < below);
  if (near === undefined) {
    return `${date.toISOString().slice(0, 10)} (${relative.format(Math.round(away / 86_400_000), "day")})`;
  }
  const clock = date.toISOString().slice(0, 16).replace("T", " ");
  return `${clock} (${relative.format(Math.round(away / near.ms), near.unit)})`;
}
