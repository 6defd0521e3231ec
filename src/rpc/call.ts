import { type ContextKey, createContextKey } from "@connectrpc/connect";
import type { Caller } from "../access/caller.ts";

/** Who makes the call; set by the gate before the request is read. */
export const callerKey: ContextKey<Caller> = createContextKey<Caller>({ kind: "anonymous", address: "" });

/** The id of the call in logs and errors: the client's `x-request-id`, or one of ours. */
export const requestIdKey: ContextKey<string> = createContextKey("");

/** Network address of the peer, IPv4-mapped IPv6 as IPv4; empty if there is none. Set by the transport. */
export const peerAddressKey: ContextKey<string> = createContextKey("");
