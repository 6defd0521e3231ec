import type { RefusalResponse } from "../http/refusal-response.ts";
import type { HttpRequest } from "../http/request.ts";
import { createRequestGuard, type HttpKeyOptions } from "../http/request-guard.ts";
import type { Verifier } from "../verification.ts";

/** The part of Fastify's request that is needed here. */
interface Request {
  readonly raw: HttpRequest;
  /** The address of whoever calls, by Fastify's option `trustProxy`. */
  readonly ip: string;
}

/** The part of Fastify's reply that is needed here. */
interface Reply {
  code(status: number): unknown;
  header(name: string, value: string): unknown;
  send(body: string): unknown;
}

/** `FastifyRequest` is Fastify's: name the type where a function looks at more than the part above. */
export type RequireKeyOptions<FastifyRequest extends Request = Request> = HttpKeyOptions<FastifyRequest>;

/**
 * Requires a key of every request, as a hook of Fastify: before the body is read. The same as `requireKey` for
 * node:http, with the address that Fastify finds.
 *
 * @example app.addHook("onRequest", requireKey(verifier)) // all routes
 * @example app.post("/orders", { onRequest: requireKey(verifier, { scopes: ["orders:write"] }) }, handler)
 */
export function requireKey<FastifyRequest extends Request = Request>(
  verifier: Verifier,
  options: RequireKeyOptions<FastifyRequest> = {},
): (request: NoInfer<FastifyRequest>, reply: Reply, done: () => void) => void {
  const guard = createRequestGuard(verifier, options);
  return (request, reply, done) =>
    guard({
      request,
      raw: request.raw,
      peer: request.ip,
      refuse: (refusal) => answer(reply, refusal),
      setHeader: (name, value) => void reply.header(name, value),
      proceed: () => done(),
    });
}

function answer(reply: Reply, { status, headers, body }: RefusalResponse): void {
  reply.code(status);
  for (const [name, value] of Object.entries(headers)) reply.header(name, value);
  reply.send(body);
}
