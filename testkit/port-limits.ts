import { DEFAULT_POLICY } from "../src/server/config/policy.ts";
import { portLimits } from "../src/server/config/port-limits.ts";

/** The limits of a port as the server has them. */
export const TEST_PORT_LIMITS = portLimits(DEFAULT_POLICY.port);
