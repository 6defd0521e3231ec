import type { Http2Limits } from "../../http2/connection.ts";
import type { WatchLimits } from "./http2-watch.ts";

/** The numbers live with the server's other policy. */
export interface PortLimits extends Http2Limits, WatchLimits {
  /** Connections open at once. A further one takes the place of one that is idle: see `Connections`. */
  readonly maxConnections: number;
  /** Milliseconds from connecting until it is plain which HTTP version the client speaks. */
  readonly firstByteTimeoutMs: number;
  /** Milliseconds for an HTTP/1.1 request with its body. HTTP/2 bodies are bound by the call's deadline. */
  readonly requestTimeoutMs: number;
  /** Milliseconds that `drain` waits for calls in flight before it cuts them off. */
  readonly drainMs: number;
}

/** Limits that no operator has a reason to change. */
export const FIXED_LIMITS = {
  maxHeaders: 100,
  mostUnreadAnswers: 32,
  deafMs: 1000,
  firstByteTimeoutMs: 10_000,
  headersTimeoutMs: 10_000,
} as const;
