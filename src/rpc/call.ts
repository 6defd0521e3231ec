import { type ContextKey, type ContextValues, createContextKey } from "@connectrpc/connect";
import type { Caller } from "../access/caller.ts";

/** Who makes the call; set by the gate before the request is read. */
export const callerKey: ContextKey<Caller> = createContextKey<Caller>({
  kind: "anonymous",
  address: "",
  requestId: "",
});

/** Network address of the peer, IPv4-mapped IPv6 as IPv4; empty if there is none. Set by the transport. */
export const peerAddressKey: ContextKey<string> = createContextKey("");

/** When the call came, by the monotonic clock in milliseconds. */
export const startKey: ContextKey<number> = createContextKey(0);

/** Whether the call has its line in the log. */
export const loggedKey: ContextKey<boolean> = createContextKey(false);

/** The id of the call in logs, errors and the audit log. */
export function requestIdOf(values: ContextValues): string {
  return values.get(callerKey).requestId;
}
