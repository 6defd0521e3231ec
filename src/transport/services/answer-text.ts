import type { HttpExchange } from "../http/exchange.ts";

/** The methods that a page takes. */
export function isRead(method: string): boolean {
  return method === "GET" || method === "HEAD";
}

/** Answers with a whole text; HEAD gets its head alone. */
export function answerText(
  exchange: HttpExchange,
  { status, headers, text }: { status: number; headers: Readonly<Record<string, string>>; text: string },
): void {
  const bytes = Buffer.from(text);
  const isHead = exchange.method === "HEAD";
  exchange.respond(status, Object.entries({ ...headers, "content-length": String(bytes.length) }), isHead);
  if (isHead) return;
  exchange.write(bytes);
  exchange.end();
}

/** Answers a method other than GET and HEAD. */
export function refuseMethod(exchange: HttpExchange): void {
  answerText(exchange, {
    status: 405,
    headers: { allow: "GET, HEAD", "content-type": "text/plain" },
    text: "Use GET\n",
  });
}
