import { type HttpExchange, type HttpHandler, pathOf } from "../http/exchange.ts";
import { answerText, isRead, refuseMethod } from "./answer-text.ts";
import { shareCollections } from "./shared-text.ts";

/** Where metrics are. */
export const METRICS_PATH = "/metrics";

export interface MetricsText {
  readonly contentType: string;
  text(): Promise<string>;
}

/** Serves `GET /metrics` on both HTTP versions; everything else is for `next`. Collects at most ten times a second. */
export function createMetricsHandler({ contentType, text }: MetricsText, next: HttpHandler): HttpHandler {
  const metrics = { contentType, text: shareCollections(text) };
  return (exchange) => {
    if (pathOf(exchange.target) === METRICS_PATH) void answer(metrics, exchange);
    else next(exchange);
  };
}

async function answer({ contentType, text }: MetricsText, exchange: HttpExchange): Promise<void> {
  try {
    if (!isRead(exchange.method)) {
      refuseMethod(exchange);
    } else {
      const headers = { "content-type": contentType, "cache-control": "no-store" };
      answerText(exchange, { status: 200, headers, text: await text() });
    }
  } catch {
    const headers = { "content-type": "text/plain" };
    answerText(exchange, { status: 500, headers, text: "the metrics could not be read\n" });
  } finally {
    exchange.drop();
  }
}
