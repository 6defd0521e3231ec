import { constants, type IncomingHttpHeaders, type OutgoingHttpHeaders, type ServerHttp2Stream } from "node:http2";
import type { ConnectRouter } from "@connectrpc/connect";
import { errorToJsonBytes } from "@connectrpc/connect/protocol-connect";
import { setTrailerStatus } from "@connectrpc/connect/protocol-grpc";
import { Health } from "#gen/grpc/health/v1/health_pb.js";
import { Call } from "../../rpc/call.ts";
import { stopSending } from "../port/drop-body.ts";
import type { HttpHandler } from "../router/http-messages.ts";
import { tooManyAtOnce } from "../router/router-errors.ts";
import { METRICS_PATH } from "../services/metrics-handler.ts";

export interface DoorOptions {
  /** Whose calls may be refused. */
  readonly router: Pick<ConnectRouter, "handlers">;
  /** Whether a call that comes on a connection now is refused, as `OVERLOADED`; it may be one that the router serves. */
  readonly isOverloaded: (connection: object, isRouted: boolean) => boolean;
  /** Whether the router has nothing to do with it. */
  readonly isDirect: (headers: IncomingHttpHeaders) => boolean;
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

export type StreamHandler = (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => void;

/**
 * Refuses calls before anything is made of them: what is let in has to wait while others are refused. An answer of the
 * router's took as long as half of a verification.
 */
export class Door {
  readonly #options: DoorOptions;
  /** By path. */
  readonly #methods: ReadonlyMap<string, Method>;
  /** Made once: an overloaded process must not spend time on errors. */
  readonly #trailers: OutgoingHttpHeaders;
  readonly #json: Uint8Array;

  constructor(options: DoorOptions) {
    this.#options = options;
    this.#methods = new Map(
      options.router.handlers.map(({ requestPath, service: { typeName }, method }) => {
        const isOver = typeName === Health.typeName ? options.isOverloadedByHealth : options.isOverloaded;
        return [requestPath, { name: `${typeName}/${method.name}`, isOver }];
      }),
    );
    this.#trailers = Object.fromEntries(setTrailerStatus(new Headers(), tooManyAtOnce()));
    this.#json = errorToJsonBytes(tooManyAtOnce(), undefined);
  }

  /** For HTTP/2. */
  streams(next: StreamHandler): StreamHandler {
    return (stream, headers) => {
      const isRouted = !this.#options.isDirect(headers);
      const method = this.#refused(headers[":path"], stream.session ?? stream, isRouted);
      if (method === undefined) {
        next(stream, headers);
        return;
      }
      const { status, head, body } = this.#refuse(method, headers);
      stream.on("error", ignore);
      if (stream.destroyed || stream.closed) return;
      stream.respond({ [constants.HTTP2_HEADER_STATUS]: status, ...head }, { endStream: body === undefined });
      if (body !== undefined) stream.end(body);
      // Node (26) reads a short body that nothing read; flow control holds the client of a longer one.
      stopSending(stream);
    };
  }

  /** For HTTP/1.1; an HTTP/2 request has come through `streams`. */
  requests(next: HttpHandler): HttpHandler {
    return (req, res) => {
      const method = "stream" in req || "stream" in res ? undefined : this.#refused(req.url, req.socket, true);
      if (method === undefined || "stream" in res) {
        next(req, res);
        return;
      }
      const { status, head, body } = this.#refuse(method, req.headers);
      res.writeHead(status, head).end(body);
    };
  }

  /** The method, if a call of it is refused now. */
  #refused(url: string | undefined, connection: object, isRouted: boolean): string | undefined {
    const path = url?.split("?", 1)[0] ?? "";
    if (path === METRICS_PATH) return undefined;
    const method = this.#methods.get(path) ?? { name: UNKNOWN_METHOD, isOver: this.#options.isOverloaded };
    return method.isOver(connection, isRouted) ? method.name : undefined;
  }

  /** gRPC and gRPC-Web get it as Trailers-Only (by gRFC A6 a client retries only those), others as Connect's JSON. */
  #refuse(method: string, headers: IncomingHttpHeaders) {
    const call = new Call("");
    const asked = headers["x-request-id"];
    const id = this.#options.enter(call, typeof asked === "string" ? asked : null);
    this.#options.onRefused(method, call);
    const contentType = headers["content-type"] ?? "";
    if (contentType.startsWith("application/grpc")) {
      const head = { "content-type": contentType, "x-request-id": id, ...this.#trailers };
      return { status: 200, head, body: undefined };
    }
    const length = this.#json.byteLength;
    const head = { "content-type": "application/json", "content-length": length, "x-request-id": id };
    return { status: 503, head, body: this.#json };
  }
}

function ignore(): void {
  // `close` comes after it.
}
