import { Code, ConnectError, type Interceptor } from "@connectrpc/connect";
import { createDeadlineSignal } from "@connectrpc/connect/protocol";
import { parseTimeout as parseConnectTimeout } from "@connectrpc/connect/protocol-connect";
import { parseTimeout as parseGrpcTimeout } from "@connectrpc/connect/protocol-grpc";
import { clientGone, deadlineExceeded } from "./router-errors.ts";

export interface DeadlineLimits {
  /** Milliseconds that a unary call gets whose client sets no timeout. */
  readonly defaultDeadlineMs: number;
  /** Milliseconds that a unary call gets at most; longer timeouts are cut to it. */
  readonly maxDeadlineMs: number;
}

/**
 * Writes the timeout that a unary call gets into its request headers, and returns it in milliseconds. A malformed
 * timeout is left for the router to refuse: undefined.
 */
export function boundTimeout(header: Headers, limits: DeadlineLimits): number | undefined {
  const isGrpc = (header.get("content-type") ?? "").startsWith("application/grpc");
  const name = isGrpc ? "grpc-timeout" : "connect-timeout-ms";
  const value = header.get(name);
  const parse = isGrpc ? parseGrpcTimeout : parseConnectTimeout;
  const asked = value === null ? limits.defaultDeadlineMs : parse(value, Number.MAX_SAFE_INTEGER).timeoutMs;
  if (asked === undefined) return undefined;
  const granted = Math.min(asked, limits.maxDeadlineMs);
  if (value === null || granted < asked) header.set(name, isGrpc ? `${granted}m` : `${granted}`);
  return granted;
}

/** Passes a request body on; rejects with DEADLINE_EXCEEDED when it has not all arrived within `timeoutMs`. */
export async function* arrivingWithin(
  body: AsyncIterable<Uint8Array>,
  timeoutMs: number,
): AsyncGenerator<Uint8Array, void> {
  const deadline = createDeadlineSignal(timeoutMs);
  const chunks = body[Symbol.asyncIterator]();
  try {
    for (;;) {
      const next = await untilAborted(chunks.next(), deadline.signal);
      if (next.done) return;
      yield next.value;
    }
  } finally {
    deadline.cleanup();
  }
}

/**
 * Answers a unary call when its deadline passes or its client goes away, though the handler is still at work; the
 * router alone would wait for the handler. The handler's work goes on, and its late outcome is dropped.
 */
export const deadlineInterceptor: Interceptor = (next) => (req) => {
  if (req.stream) return next(req);
  if (req.signal.aborted) return Promise.reject(abortError(req.signal));
  return untilAborted(next(req), req.signal);
};

async function untilAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const aborted = Promise.withResolvers<never>();
  const onAbort = () => aborted.reject(abortError(signal));
  if (signal.aborted) onAbort();
  signal.addEventListener("abort", onAbort);
  try {
    return await Promise.race([work, aborted.promise]);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}

function abortError(signal: AbortSignal): ConnectError {
  const { reason } = signal;
  if (reason instanceof ConnectError && reason.code === Code.DeadlineExceeded) return deadlineExceeded();
  return clientGone(reason);
}
