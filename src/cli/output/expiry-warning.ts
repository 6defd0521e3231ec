import { type Timestamp, timestampMs } from "@bufbuild/protobuf/wkt";
import { type Key, KeyState } from "#gen/claviger/v1/key_pb.js";
import { DAY_MS } from "../../system/clocks.ts";
import type { Shell } from "../shell.ts";
import { createTimes } from "./describe-time.ts";

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
