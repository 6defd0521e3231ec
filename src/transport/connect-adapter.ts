import { constants } from "node:http2";
import type { DescMessage } from "@bufbuild/protobuf";
import { type ConnectError, type ConnectRouter, createContextValues } from "@connectrpc/connect";
import {
  assertByteStreamRequest,
  type UniversalHandler,
  type UniversalServerRequest,
  type UniversalServerResponse,
} from "@connectrpc/connect/protocol";
import { universalRequestFromNodeRequest } from "@connectrpc/connect-node";
import { Call, callKey, callOf } from "../rpc/call.ts";
import { refusalOfJson } from "../rpc/refusal-of-json.ts";
import { arrivingWithin, boundTimeout, type DeadlineLimits } from "./deadline.ts";
import { type Credit, dropBody } from "./drop-body.ts";
import type { HttpRequest, HttpResponse } from "./http-messages.ts";
import { peerAddressOf } from "./peer-address.ts";
import { explainErrors } from "./router-errors.ts";
import { unknownMethod } from "./unknown-method.ts";
import { writeResponse } from "./write-response.ts";

export interface ConnectHandlerOptions extends DeadlineLimits {
  /** The routes to serve, complete. It must not compress responses: see `explainErrors`. */
  readonly router: ConnectRouter;
  /** Told of an answer that could not be made or sent though its client was there. Default: it is dropped. */
  readonly onError?: (error: unknown, path: string) => void;
  /** Told of every unary call once its answer begins, also of those that no interceptor saw because they could not be read. */
  readonly onAnswer?: (method: string, call: Call) => void;
  /** Told of a stream's bytes, however many, and of those that come after a refusal. */
  readonly credit?: Credit;
}

interface Exchange {
  readonly req: HttpRequest;
  readonly res: HttpResponse;
}

/** As any handler; with the request's body where that was taken from the request already. */
export type ConnectHandler = (req: HttpRequest, res: HttpResponse, body?: AsyncIterable<Uint8Array>) => void;

/**
 * Serves a Connect router on Node's HTTP servers. Differs from `connectNodeAdapter` in this: errors of gRPC calls leave
 * as Trailers-Only, every error carries ErrorInfo, unary calls have a deadline, a client that goes away is no failure.
 */
export function createConnectHandler(options: ConnectHandlerOptions): ConnectHandler {
  const { router, onError = () => {}, onAnswer = () => {}, credit = () => {} } = options;
  const handlers = new Map(router.handlers.map((handler) => [handler.requestPath, handler]));

  async function serve(req: HttpRequest, res: HttpResponse, body?: AsyncIterable<Uint8Array>): Promise<void> {
    const path = req.url?.split("?", 1)[0] ?? "";
    const handler = handlers.get(path);
    try {
      await writeResponse(await respond(handler, { req, res }, body), res);
    } catch (error) {
      if ("stream" in res) res.stream.close(constants.NGHTTP2_INTERNAL_ERROR);
      else res.destroy();
      onError(error, path);
    } finally {
      if ("stream" in req && !req.complete) dropBody(req.stream, credit);
    }
  }

  async function respond(
    handler: UniversalHandler | undefined,
    exchange: Exchange,
    body: AsyncIterable<Uint8Array> | undefined,
  ): Promise<UniversalServerResponse> {
    if (handler === undefined) return unknownMethod(exchange.req.headers["content-type"] ?? "");
    const request = universalRequest(exchange);
    if (request === undefined) return { status: 400 };
    assertByteStreamRequest(request);
    if (body !== undefined) request.body = body;
    if (handler.method.methodKind === "unary") {
      const timeoutMs = boundTimeout(request.header, options);
      if (timeoutMs !== undefined) request.body = arrivingWithin(request.body, timeoutMs);
    } else {
      const connection = connectionOf(exchange.req);
      request.body = told(request.body, (bytes) => credit(connection, bytes));
    }
    const json = request.header.get("content-type")?.startsWith("application/json") ? new KeptBody() : undefined;
    if (json !== undefined) request.body = json.keep(request.body);
    const response = await handler(request);
    // Of a stream the interceptors always see the end.
    if (handler.method.methodKind === "unary") {
      onAnswer(
        `${handler.service.typeName}/${handler.method.name}`,
        callOf(request.contextValues ?? createContextValues()),
      );
    }
    return explainErrors(response, () => json?.refusal(handler.method.input));
  }

  return (req, res, body) => void serve(req, res, body);
}

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

async function* told(body: AsyncIterable<Uint8Array>, tell: (bytes: number) => void): AsyncGenerator<Uint8Array> {
  for await (const chunk of body) {
    tell(chunk.length);
    yield chunk;
  }
}

function connectionOf(req: HttpRequest): object {
  return "stream" in req ? (req.stream.session ?? req.stream) : req.socket;
}

/** The request as Connect wants it; undefined if its authority is missing or malformed. */
function universalRequest({ req, res }: Exchange): UniversalServerRequest | undefined {
  const values = createContextValues().set(callKey, new Call(peerAddressOf(req)));
  try {
    return universalRequestFromNodeRequest(req, res, undefined, values);
  } catch {
    return undefined;
  }
}
