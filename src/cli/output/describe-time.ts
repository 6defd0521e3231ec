import { type Timestamp, timestampDate } from "@bufbuild/protobuf/wkt";
import { DAY_MS, HOUR_MS } from "../../system/clocks.ts";
import type { Shell } from "../shell.ts";

const STEPS = [
  { unit: "second", ms: 1_000, below: 2 * 60_000 },
  { unit: "minute", ms: 60_000, below: 2 * HOUR_MS },
  { unit: "hour", ms: HOUR_MS, below: 2 * DAY_MS },
] as const;

/** The sign for an instant that is not set. */
const NONE = "–";

/** Instants for people, in the time zone of the shell. Programs get UTC, by `--json`. */
export interface Times {
  /** `2027-02-20 (in 90 days)`; within two days `2027-02-20 14:05 CET (in 3 hours)`; `–` for an unset one. */
  describe(timestamp: Timestamp | undefined): string;
  /** For a narrow terminal: `2027-02-20`; within two days `in 3 hours`. */
  abbreviate(timestamp: Timestamp | undefined): string;
  /** `2027-02-20 14:05 CET` */
  clock(timestamp: Timestamp | undefined): string;
}

/** Tells times as of now. */
export function createTimes({ now, timeZone }: Pick<Shell, "now" | "timeZone">): Times {
  const nowMs = now().getTime();
  const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
  const parts = partsIn(timeZone);
  const tell = (timestamp: Timestamp) => {
    const date = timestampDate(timestamp);
    const away = date.getTime() - nowMs;
    const near = STEPS.find(({ below }) => Math.abs(away) < below);
    const { day, clock } = parts(date);
    const span = relative.format(Math.round(away / (near?.ms ?? DAY_MS)), near?.unit ?? "day");
    return { day, clock, span, isNear: near !== undefined };
  };
  return {
    describe(timestamp) {
      if (timestamp === undefined) return NONE;
      const { day, clock, span, isNear } = tell(timestamp);
      return isNear ? `${day} ${clock} (${span})` : `${day} (${span})`;
    },
    abbreviate(timestamp) {
      if (timestamp === undefined) return NONE;
      const { day, span, isNear } = tell(timestamp);
      return isNear ? span : day;
    },
    clock(timestamp) {
      if (timestamp === undefined) return NONE;
      const { day, clock } = parts(timestampDate(timestamp));
      return `${day} ${clock}`;
    },
  };
}

/** Splits an instant into `2027-02-20` and `14:05 CET`. */
function partsIn(timeZone: string): (date: Date) => { readonly day: string; readonly clock: string } {
  const format = new Intl.DateTimeFormat("en-US", {
    timeZone,
    ...{ year: "numeric", month: "2-digit", day: "2-digit" },
    ...{ hour: "2-digit", minute: "2-digit", hourCycle: "h23", timeZoneName: "short" },
  });
  return (date) => {
    const of = Object.fromEntries(format.formatToParts(date).map(({ type, value }) => [type, value]));
    return {
      day: `${of.year?.padStart(4, "0")}-${of.month}-${of.day}`,
      clock: `${of.hour}:${of.minute} ${of.timeZoneName}`,
    };
  };
}
