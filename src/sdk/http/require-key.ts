import type { IncomingMessage, ServerResponse } from "node:http";
import type { RefusalResponse } from "../../wire/refusal-response.ts";
import type { Verifier } from "../verification.ts";
import { createRequestGuard, type HttpKeyOptions, type HttpRequest } from "./request-guard.ts";

/** `Request` is the type of the server: `IncomingMessage`, or `Request` of Express. */
export type RequireKeyOptions<Request extends HttpRequest = HttpRequest> = HttpKeyOptions<Request>;

/** The used part of a response. */
interface HttpResponse {
  statusCode: number;
  setHeader(name: string, value: string): unknown;
  end(body: string): unknown;
}

type Middleware<Request> = (request: Request, response: HttpResponse, next: () => void) => void;

/**
 * Requires a key of every request: `authorization: Bearer <key>` or `x-api-key: <key>`. Handlers get the caller from
 * `principalOf(request)`, and never the key. A caller whose secret was rotated learns when it retires, from the header
 * `claviger-secret-retires` (RFC 3339). The key is not verified again during a long response.
 *
 * Refusals are a `RefusalBody` in JSON: 401 without a key or with a bad one, 403 for the address or a missing scope, 429
 * for a limit, 503 if the key could not be checked; the last two with `retry-after` where it is known.
 *
 * @example app.use(requireKey(verifier)) // Express
 * @example app.post("/orders", requireKey(verifier, { scopes: ["orders:write"], method: "/shop/write-order" }), handler)
 */
export function requireKey<Request extends HttpRequest>(
  verifier: Verifier,
  options: RequireKeyOptions<Request> = {},
): Middleware<Request> {
  const guard = createRequestGuard(verifier, options);
  return (request, response, next) =>
    guard({
      request,
      raw: request,
      peer: request.ip ?? request.socket?.remoteAddress,
      refuse: (refusal) => answer(response, refusal),
      setHeader: (name, value) => void response.setHeader(name, value),
      proceed: next,
    });
}

/**
 * Wraps one handler in `requireKey`, for servers without middleware.
 *
 * @example createServer(withKey(verifier, (req, res) => res.end(principalOf(req).key.owner)))
 */
export function withKey<Request extends HttpRequest = IncomingMessage, Response extends HttpResponse = ServerResponse>(
  verifier: Verifier,
  handler: (request: Request, response: Response) => void,
  options: RequireKeyOptions<Request> = {},
): (request: Request, response: Response) => void {
  const middleware = requireKey(verifier, options);
  return (request, response) => middleware(request, response, () => handler(request, response));
}

function answer(response: HttpResponse, { status, headers, body }: RefusalResponse): void {
  response.statusCode = status;
  for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
  response.end(body);
}
