import type { DescMessage } from "@bufbuild/protobuf";
import { Code, ConnectError, type ConnectRouter, createContextValues } from "@connectrpc/connect";
import {
  assertByteStreamRequest,
  type UniversalHandler,
  type UniversalServerRequest,
  type UniversalServerResponse,
} from "@connectrpc/connect/protocol";
import { Call, callKey, callOf } from "../../rpc/call.ts";
import { refusalOfJson } from "../../rpc/refusal-of-json.ts";
import { type HttpExchange, type HttpHandler, pathOf } from "../http/exchange.ts";
import { arrivingWithin, boundTimeout, type DeadlineLimits } from "./deadline.ts";
import { unknownMethod } from "./refusal.ts";
import { RequestBody } from "./request-body.ts";
import { explainErrors } from "./router-errors.ts";
import { writeResponse } from "./write-response.ts";

export interface ConnectHandlerOptions extends DeadlineLimits {
  /** The routes to serve, complete. It must not compress responses: see `explainErrors`. */
  readonly router: ConnectRouter;
  /** Called with each answer that could not be made or sent though its client was there. Default: it is dropped. */
  readonly onError?: (error: unknown, path: string) => void;
  /** Called with each call that was refused before an interceptor could see it, such as one that cannot be decoded. */
  readonly onUnseen?: (method: string, call: Call, error: ConnectError) => void;
}

/**
 * Serves a Connect router on exchanges of both HTTP versions. Differs from `connectNodeAdapter` in this: errors of gRPC
 * calls leave as Trailers-Only, every error carries ErrorInfo, unary calls have a deadline, a client that goes away is
 * no failure.
 */
export function createConnectHandler(options: ConnectHandlerOptions): HttpHandler {
  const { router, onError = () => {}, onUnseen = () => {} } = options;
  const handlers = new Map(router.handlers.map((handler) => [handler.requestPath, handler]));

  async function serve(exchange: HttpExchange): Promise<void> {
    const path = pathOf(exchange.target);
    const body = new RequestBody(exchange);
    try {
      await writeResponse(await respond(handlers.get(path), exchange, body), exchange);
    } catch (error) {
      exchange.destroy();
      onError(error, path);
    } finally {
      body.stop();
    }
  }

  async function respond(
    handler: UniversalHandler | undefined,
    exchange: HttpExchange,
    body: RequestBody,
  ): Promise<UniversalServerResponse> {
    if (handler === undefined) return unknownMethod(exchange.header("content-type") ?? "");
    const request = universalRequest(exchange, body);
    if (request === undefined) return { status: 400 };
    assertByteStreamRequest(request);
    if (handler.method.methodKind === "unary") {
      const timeoutMs = boundTimeout(request.header, options);
      if (timeoutMs !== undefined) request.body = arrivingWithin(request.body, timeoutMs);
    }
    const json = request.header.get("content-type")?.startsWith("application/json") ? new KeptBody() : undefined;
    if (json !== undefined) request.body = json.keep(request.body);
    const unseen = (error: ConnectError) =>
      onUnseen(
        `${handler.service.typeName}/${handler.method.name}`,
        callOf(request.contextValues ?? createContextValues()),
        error,
      );
    const response = await handler(request);
    // Connect refuses a method or a content type of HTTP (405, 415) without an error.
    if (REFUSED_BY_HTTP.has(response.status)) unseen(new ConnectError("not served in this form", Code.Unimplemented));
    return explainErrors(response, { refusalOf: () => json?.refusal(handler.method.input), onUnseen: unseen });
  }

  return (exchange) => {
    serve(exchange).catch((error: unknown) => onError(error, exchange.target));
  };
}

const REFUSED_BY_HTTP: ReadonlySet<number> = new Set([405, 415, 505]);

/** A JSON request, kept as it is read, so that it can be said which field could not be decoded. */
class KeptBody {
  readonly #chunks: Uint8Array[] = [];

  async *keep(body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    for await (const chunk of body) {
      this.#chunks.push(chunk);
      yield chunk;
    }
  }

  refusal(schema: DescMessage): ConnectError | undefined {
    return refusalOfJson(schema, Buffer.concat(this.#chunks).toString());
  }
}

/** The request as Connect wants it; undefined if its authority is missing or malformed. */
function universalRequest(exchange: HttpExchange, body: RequestBody): UniversalServerRequest | undefined {
  const { httpVersion, method, target, authority, isEncrypted, signal } = exchange;
  const origin = `${isEncrypted ? "https" : "http"}://${authority ?? ""}`;
  const url = authority === undefined ? null : URL.parse(target, origin);
  if (url === null) return undefined;
  const contextValues = createContextValues().set(callKey, new Call(exchange.address));
  return { httpVersion, method, url: url.href, header: exchange.headers(), body, signal, contextValues };
}
