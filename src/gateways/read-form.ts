import { systemTimers } from "../system/node.ts";
import type { HttpExchange } from "../transport/http/exchange.ts";
import { clientGone, deadlineExceeded } from "../transport/router/router-errors.ts";

const MOST_BYTES = 16 * 1024;
const LONGEST_MS = 10_000;

/** Reads a small body; empty if it is too long. Rejects if it breaks off or takes more than 10 s. */
export function readForm(exchange: HttpExchange): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const parts: Buffer[] = [];
  let bytes = 0;
  const timer = systemTimers.after(LONGEST_MS, () => reject(deadlineExceeded()));
  exchange.listen({
    piece(part) {
      bytes += part.length;
      if (bytes > MOST_BYTES) resolve("");
      else parts.push(part);
    },
    ended: () => resolve(Buffer.concat(parts).toString("utf8")),
    failed: (cause) => reject(clientGone(cause)),
  });
  return promise.finally(() => timer.cancel());
}
