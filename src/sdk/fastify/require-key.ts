import type { RefusalResponse } from "../../wire/refusal-response.ts";
import { createRequestGuard, type HttpKeyOptions, type HttpRequest } from "../http/request-guard.ts";
import type { Verifier } from "../verification.ts";

/** The used part of Fastify's request. */
interface Request {
  readonly raw: HttpRequest;
  /** The caller's address, by Fastify's option `trustProxy`. */
  readonly ip: string;
}

/** The used part of Fastify's reply. */
interface Reply {
  code(status: number): unknown;
  header(name: string, value: string): unknown;
  send(body: string): unknown;
}

/** `FastifyRequest` is the type of Fastify. Name it if a function reads more than the part above. */
export type RequireKeyOptions<FastifyRequest extends Request = Request> = HttpKeyOptions<FastifyRequest>;

/**
 * Requires a key of every request in a hook of Fastify, before the body is read. Otherwise the same as `requireKey` for
 * node:http, with Fastify's address of the caller.
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
