import type { ConnectRouter } from "@connectrpc/connect";
import { errorToJsonBytes } from "@connectrpc/connect/protocol-connect";
import { setTrailerStatus } from "@connectrpc/connect/protocol-grpc";
import { Health } from "#gen/grpc/health/v1/health_pb.js";
import { encodeHeaders, encodeStatus } from "../../http2/hpack/encoder.ts";
import type { RequestHead } from "../../http2/request-head.ts";
import type { Http2Stream } from "../../http2/stream.ts";
import { Call } from "../../rpc/call.ts";
import { REQUEST_ID_HEADER } from "../../rpc/gate.ts";
import { type HttpHandler, pathOf } from "../http/exchange.ts";
import { tooManyAtOnce } from "../router/router-errors.ts";
import { METRICS_PATH } from "../services/metrics-handler.ts";
import { PROBE_PATHS } from "../services/probes.ts";

export interface DoorOptions {
  /** Whose calls may be refused. */
  readonly router: Pick<ConnectRouter, "handlers">;
  /** Whether a call that comes on a connection now is refused, as `OVERLOADED`; it may be one that the router serves. */
  readonly isOverloaded: (connection: object, isRouted: boolean) => boolean;
  /** Whether the router has nothing to do with it. */
  readonly isDirect: (head: RequestHead) => boolean;
  /**
   * Like `isOverloaded`, for calls of health, which count apart: a health check must not take a busy process for a dead
   * one, and a flood of health checks must not get past.
   */
  readonly isOverloadedByHealth: (connection: object) => boolean;
  /** Notes a call that is refused; returns its id. */
  readonly enter: (call: Call, askedId: string | null) => string;
  /** Called with each refused call. */
  readonly onRefused: (method: string, call: Call) => void;
}

/** The name in logs and metrics of calls of unknown paths. */
const UNKNOWN_METHOD = "unknown";

interface Method {
  /** `package.Service/Method`. */
  readonly name: string;
  readonly isOver: (connection: object, isRouted: boolean) => boolean;
}

export type StreamHandler = (stream: Http2Stream) => void;

/**
 * Refuses calls before anything is made of them: what is let in has to wait while others are refused. An answer of the
 * router's took as long as half of a verification.
 */
export class Door {
  readonly #options: DoorOptions;
  /** By path. */
  readonly #methods: ReadonlyMap<string, Method>;
  /** Made once: an overloaded process must not spend time on errors. */
  readonly #status: readonly (readonly [string, string])[] = [...setTrailerStatus(new Headers(), tooManyAtOnce())];
  readonly #statusBlock = encodeHeaders(this.#status);
  readonly #json = errorToJsonBytes(tooManyAtOnce(), undefined);

  constructor(options: DoorOptions) {
    this.#options = options;
    const probes = PROBE_PATHS.map((path) => [path, { name: path, isOver: options.isOverloadedByHealth }] as const);
    this.#methods = new Map<string, Method>([
      ...probes,
      ...options.router.handlers.map(({ requestPath, service: { typeName }, method }) => {
        const isOver = typeName === Health.typeName ? options.isOverloadedByHealth : options.isOverloaded;
        return [requestPath, { name: `${typeName}/${method.name}`, isOver }] as const;
      }),
    ]);
  }

  /** For HTTP/2. */
  streams(next: StreamHandler): StreamHandler {
    return (stream) => {
      const { head } = stream;
      const method = this.#refused(head.path, stream.connection, !this.#options.isDirect(head));
      if (method === undefined) {
        next(stream);
        return;
      }
      const requestId = this.#note(method, head.headers.get(REQUEST_ID_HEADER));
      const contentType = head.headers.get("content-type") ?? "";
      if (isGrpc(contentType)) {
        const fields = encodeHeaders(headOf(contentType, requestId));
        stream.respond(Buffer.concat([encodeStatus(200), fields, this.#statusBlock]), true);
        return;
      }
      stream.respond(Buffer.concat([encodeStatus(503), encodeHeaders(this.#jsonHead(requestId))]), false);
      stream.write(this.#json);
      stream.end();
    };
  }

  /** For HTTP/1.1. */
  requests(next: HttpHandler): HttpHandler {
    return (exchange) => {
      const method = this.#refused(exchange.target, exchange.connection, true);
      if (method === undefined) {
        next(exchange);
        return;
      }
      const requestId = this.#note(method, exchange.header(REQUEST_ID_HEADER));
      const contentType = exchange.header("content-type") ?? "";
      if (isGrpc(contentType)) {
        exchange.respond(200, [...headOf(contentType, requestId), ...this.#status], true);
        return;
      }
      exchange.respond(503, this.#jsonHead(requestId), false);
      exchange.write(this.#json);
      exchange.end();
    };
  }

  /** The method, if a call of it is refused now. */
  #refused(target: string, connection: object, isRouted: boolean): string | undefined {
    const path = pathOf(target);
    if (path === METRICS_PATH) return undefined;
    const method = this.#methods.get(path) ?? { name: UNKNOWN_METHOD, isOver: this.#options.isOverloaded };
    return method.isOver(connection, isRouted) ? method.name : undefined;
  }

  /** Returns the id of the call. */
  #note(method: string, askedId: string | undefined): string {
    const call = new Call("");
    const id = this.#options.enter(call, askedId ?? null);
    this.#options.onRefused(method, call);
    return id;
  }

  #jsonHead(requestId: string): [string, string][] {
    // A gateway could keep an answer to /authz otherwise.
    const own: [string, string][] = [
      ["cache-control", "no-store"],
      ["retry-after", "1"],
    ];
    return [...headOf("application/json", requestId), ...own, ["content-length", String(this.#json.byteLength)]];
  }
}

/** gRPC and gRPC-Web get it as Trailers-Only (by gRFC A6 a client retries only those), others as Connect's JSON. */
function isGrpc(contentType: string): boolean {
  return contentType.startsWith("application/grpc");
}

function headOf(contentType: string, requestId: string): [string, string][] {
  return [
    ["content-type", contentType],
    [REQUEST_ID_HEADER, requestId],
  ];
}
