import { type ContextKey, type ContextValues, createContextKey } from "@connectrpc/connect";
import type { Caller } from "../access/caller.ts";

/** One call, from its arrival on. */
export class Call {
  /** The caller; the gate sets it before the request is read. */
  caller: Caller;
  /** When it came, by the monotonic clock in milliseconds; undefined until the gate has seen it. */
  startMs: number | undefined;
  /** Whether it has its line in the log. */
  isLogged = false;

  /** `address`: of the peer in the network, IPv4-mapped IPv6 as IPv4; empty if there is none. */
  constructor(address: string) {
    this.caller = { kind: "anonymous", address, requestId: "" };
  }

  /** Its id in logs, errors and the audit log. */
  get requestId(): string {
    return this.caller.requestId;
  }
}

/** The call in Connect's context; set by the transport. */
export const callKey: ContextKey<Call | undefined> = createContextKey<Call | undefined>(undefined);

/** The call whose context this is. One that came without a transport of ours has no address. */
export function callOf(values: ContextValues): Call {
  const known = values.get(callKey);
  if (known !== undefined) return known;
  const call = new Call("");
  values.set(callKey, call);
  return call;
}
