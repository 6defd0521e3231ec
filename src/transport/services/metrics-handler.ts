import { type HttpExchange, type HttpHandler, pathOf } from "../http/exchange.ts";
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
  const end = (status: number, headers: Readonly<Record<string, string>>, body: string) => {
    const bytes = Buffer.from(body);
    const header = { ...headers, "content-length": String(bytes.length) };
    exchange.respond(status, Object.entries(header), exchange.method === "HEAD");
    if (exchange.method === "HEAD") return;
    exchange.write(bytes);
    exchange.end();
  };
  try {
    if (exchange.method !== "GET" && exchange.method !== "HEAD") {
      end(405, { allow: "GET, HEAD", "content-type": "text/plain" }, "Use GET\n");
    } else {
      end(200, { "content-type": contentType, "cache-control": "no-store" }, await text());
    }
  } catch {
    end(500, { "content-type": "text/plain" }, "the metrics could not be read\n");
  } finally {
    exchange.drop();
  }
}
