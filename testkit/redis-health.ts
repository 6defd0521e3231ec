import { systemRandom, systemTimers } from "../src/system/node.ts";

/** What a user of Redis takes beside its address, for tests that look at neither. */
export const QUIET_REDIS = {
  timers: systemTimers,
  random: systemRandom,
  health: { worked: () => undefined, failed: () => undefined },
};
