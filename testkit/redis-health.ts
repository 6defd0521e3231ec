import { systemRandom, systemTimers } from "../src/system/node.ts";

/** The dependencies of a Redis client beside the address, for tests that check neither. */
export const QUIET_REDIS = {
  timers: systemTimers,
  random: systemRandom,
  health: { worked: () => undefined, failed: () => undefined },
};
