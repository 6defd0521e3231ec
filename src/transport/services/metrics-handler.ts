import type { HttpHandler, HttpRequest, HttpResponse } from "../router/http-messages.ts";
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
  return (req, res) => {
    if (req.url?.split("?", 1)[0] === METRICS_PATH) void answer(metrics, req, res);
    else next(req, res);
  };
}

async function answer({ contentType, text }: MetricsText, req: HttpRequest, res: HttpResponse): Promise<void> {
  const end = (status: number, headers: Readonly<Record<string, string>>, body: string) => {
    res.statusCode = status;
    for (const [name, value] of Object.entries(headers)) res.setHeader(name, value);
    // The two versions of HTTP type `end` apart.
    if ("stream" in res) res.end(body);
    else res.end(body);
  };
  if (req.method !== "GET" && req.method !== "HEAD") {
    end(405, { allow: "GET, HEAD", "content-type": "text/plain" }, "Use GET\n");
    return;
  }
  try {
    end(200, { "content-type": contentType, "cache-control": "no-store" }, req.method === "HEAD" ? "" : await text());
  } catch {
    end(500, { "content-type": "text/plain" }, "the metrics could not be read\n");
  }
}
