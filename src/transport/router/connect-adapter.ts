import { constants } from "node:http2";
import type { DescMessage } from "@bufbuild/protobuf";
import { Code, ConnectError, type ConnectRouter, createContextValues } from "@connectrpc/connect";
import {
  assertByteStreamRequest,
  type UniversalHandler,
  type UniversalServerRequest,
  type UniversalServerResponse,
} from "@connectrpc/connect/protocol";
import { universalRequestFromNodeRequest } from "@connectrpc/connect-node";
import { Call, callKey, callOf } from "../../rpc/call.ts";
import { refusalOfJson } from "../../rpc/refusal-of-json.ts";
import { MessageEnds } from "../direct/message-ends.ts";
import { type BodyBudget, UNBOUND } from "../overload/body-budget.ts";
import { dropBody } from "../port/drop-body.ts";
import { arrivingWithin, boundTimeout, type DeadlineLimits } from "./deadline.ts";
import type { HttpRequest, HttpResponse } from "./http-messages.ts";
import { peerAddressOf } from "./peer-address.ts";
import { unknownMethod } from "./refusal.ts";
import { type ReadBody, RequestBody } from "./request-body.ts";
import { explainErrors } from "./router-errors.ts";
import { writeResponse } from "./write-response.ts";

export interface ConnectHandlerOptions extends DeadlineLimits {
  /** The routes to serve, complete. It must not compress responses: see `explainErrors`. */
  readonly router: ConnectRouter;
  /** Called with each answer that could not be made or sent though its client was there. Default: it is dropped. */
  readonly onError?: (error: unknown, path: string) => void;
  /** Called with each call that was refused before an interceptor could see it, such as one that cannot be decoded. */
  readonly onUnseen?: (method: string, call: Call, error: ConnectError) => void;
  /** Counts pieces of bodies, all bytes of a stream, and those that come after a refusal. */
  readonly budget?: BodyBudget;
}

interface Exchange {
  readonly req: HttpRequest;
  readonly res: HttpResponse;
  readonly body: RequestBody;
}

/** Like any handler, with the part of the request's body that was read already. */
export type ConnectHandler = (req: HttpRequest, res: HttpResponse, read?: ReadBody) => void;

/**
 * Serves a Connect router on Node's HTTP servers. Differs from `connectNodeAdapter` in this: errors of gRPC calls leave
 * as Trailers-Only, every error carries ErrorInfo, unary calls have a deadline, a client that goes away is no failure.
 */
export function createConnectHandler(options: ConnectHandlerOptions): ConnectHandler {
  const { router, onError = () => {}, onUnseen = () => {}, budget = UNBOUND } = options;
  const handlers = new Map(router.handlers.map((handler) => [handler.requestPath, handler]));

  async function serve(req: HttpRequest, res: HttpResponse, read?: ReadBody): Promise<void> {
    const path = req.url?.split("?", 1)[0] ?? "";
    const handler = handlers.get(path);
    const body = bodyOf(req, read);
    try {
      await writeResponse(await respond(handler, { req, res, body }), res);
    } catch (error) {
      if ("stream" in res) res.stream.close(constants.NGHTTP2_INTERNAL_ERROR);
      else res.destroy();
      onError(error, path);
    } finally {
      body.stop();
      if (!req.complete) drop(req);
    }
  }

  /** From the stream itself: a request of Node (26) does not set a stream going that was paused. */
  function bodyOf(req: HttpRequest, read: ReadBody | undefined): RequestBody {
    const connection = connectionOf(req);
    const messageEnds = hasPrefixes(req) ? new MessageEnds() : undefined;
    const endsOf = (piece: Buffer) => {
      const ends = messageEnds?.of(piece) ?? [];
      budget.piece(connection, piece.length, ends.length);
      return ends;
    };
    return new RequestBody({ source: "stream" in req ? req.stream : req, read, endsOf });
  }

  /** Reads and drops the rest of a body that is no longer used. */
  function drop(req: HttpRequest): void {
    if ("stream" in req) dropBody(req.stream, budget);
    else if (!req.destroyed) req.on("data", (piece: Buffer) => budget.piece(req.socket, piece.length, 0)).resume();
  }

  async function respond(handler: UniversalHandler | undefined, exchange: Exchange): Promise<UniversalServerResponse> {
    if (handler === undefined) return unknownMethod(exchange.req.headers["content-type"] ?? "");
    const request = universalRequest(exchange);
    if (request === undefined) return { status: 400 };
    assertByteStreamRequest(request);
    request.body = exchange.body;
    if (handler.method.methodKind === "unary") {
      const timeoutMs = boundTimeout(request.header, options);
      if (timeoutMs !== undefined) request.body = arrivingWithin(request.body, timeoutMs);
    } else {
      const connection = connectionOf(exchange.req);
      request.body = told(request.body, (bytes) => budget.credit(connection, bytes));
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

  return (req, res, read) => {
    serve(req, res, read).catch((error: unknown) => onError(error, req.url ?? ""));
  };
}

const REFUSED_BY_HTTP: ReadonlySet<number> = new Set([405, 415, 505]);

/** Whether each message of the body has a prefix with its length; others are one message. */
function hasPrefixes({ headers: { "content-type": type = "" } }: HttpRequest): boolean {
  return type.startsWith("application/grpc") || type.startsWith("application/connect+");
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
