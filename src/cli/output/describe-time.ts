import { type Timestamp, timestampDate, timestampMs } from "@bufbuild/protobuf/wkt";
import { type Key, KeyState } from "#gen/claviger/v1/key_pb.js";
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

/** How long before its end a secret is warned of: time for one release of whatever holds it. */
const NOTICE_MS = 14 * DAY_MS;

/** Whether a secret that is good now ends within 14 days. */
export function endsSoon(end: Timestamp | undefined, now: Date): boolean {
  if (end === undefined) return false;
  const left = timestampMs(end) - now.getTime();
  return left > 0 && left < NOTICE_MS;
}

/** A warning about the keys among `keys` whose current secret expires within 14 days; empty if there are none. */
export function expiryWarning(keys: readonly Key[], shell: Pick<Shell, "now" | "timeZone">): string {
  const now = shell.now();
  const soon = keys.filter(({ state, expireTime }) => state !== KeyState.REVOKED && endsSoon(expireTime, now));
  const [first] = soon;
  if (first === undefined) return "";
  const rotate = `\`claviger keys rotate ${first.id}\``;
  if (soon.length === 1)
    return `the secret of ${first.id} expires ${createTimes(shell).describe(first.expireTime)}: rotate it with ${rotate}`;
  return `the secrets of ${soon.length} of these keys expire within 14 days: rotate them, as in ${rotate}`;
}
