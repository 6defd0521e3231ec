import { type HttpExchange, type HttpHandler, pathOf } from "../http/exchange.ts";
import { answerText, isRead, refuseMethod } from "./answer-text.ts";

/** Where a process says that it lives, and where whether it can take calls. */
const [ALIVE_PATH, READY_PATH] = ["/healthz", "/readyz"];
export const PROBE_PATHS: readonly string[] = [ALIVE_PATH, READY_PATH];

/** The state of one cause. A `warning` leaves the process ready. */
export interface Cause {
  readonly status: "ok" | "warning" | "failing";
  /** The reason, unless the status is `ok`. Probes need no credential, so it is public. */
  readonly detail?: string;
}

export interface Readiness {
  readonly ready: boolean;
  readonly causes: Readonly<Record<string, Cause>>;
}

/**
 * Serves `GET /healthz` (200 while the process lives) and `GET /readyz` (JSON, 200 or 503) on both HTTP versions;
 * everything else is for `next`. `readiness` is called for each probe, so it must only read.
 */
export function createProbes(readiness: () => Readiness, next: HttpHandler): HttpHandler {
  return (exchange) => {
    const path = pathOf(exchange.target);
    if (!PROBE_PATHS.includes(path)) {
      next(exchange);
      return;
    }
    if (!isRead(exchange.method)) refuseMethod(exchange);
    else if (path === ALIVE_PATH) answer(exchange, { status: 200, type: "text/plain", text: "ok\n" });
    else answerReadiness(exchange, readiness());
    exchange.drop();
  };
}

function answerReadiness(exchange: HttpExchange, readiness: Readiness): void {
  const text = `${JSON.stringify(readiness)}\n`;
  answer(exchange, { status: readiness.ready ? 200 : 503, type: "application/json", text });
}

function answer(exchange: HttpExchange, { status, type, text }: { status: number; type: string; text: string }): void {
  answerText(exchange, { status, headers: { "content-type": type, "cache-control": "no-store" }, text });
}
