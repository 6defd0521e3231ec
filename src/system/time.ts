export const MINUTE_MS = 60_000;
export const HOUR_MS = 60 * MINUTE_MS;
export const DAY_MS = 24 * HOUR_MS;

/** The longest delay of a timer of Node: a longer one fires at once. */
export const LONGEST_TIMER_MS = 2 ** 31 - 1;

/**
 * First and last millisecond that `google.protobuf.Timestamp` and ISO 8601 with four digits can hold: the years 1 to 9999.
 * Postgres has earlier and later times, and does not read how JavaScript writes the later ones.
 */
export const FIRST_TIME_MS = -62_135_596_800_000;
export const LAST_TIME_MS = 253_402_300_799_999;
