import { FIXED_LIMITS, type PortLimits } from "../../transport/port/limits.ts";
import type { Policy } from "./policy.ts";

/** The limits of a port, with those that are constants. */
export function portLimits({ maxHeaderBytes, maxOpenCalls, maxTinyPieces, ...others }: Policy["port"]): PortLimits {
  return {
    ...{ ...FIXED_LIMITS, ...others, headerListBytes: maxHeaderBytes },
    ...{ mostOpenCalls: maxOpenCalls, mostTinyPieces: maxTinyPieces },
  };
}
