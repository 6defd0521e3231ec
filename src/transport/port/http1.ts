import * as http from "node:http";
import type { Socket } from "node:net";
import { TLSSocket } from "node:tls";
import { PieceCount } from "../../http2/budgets.ts";
import type { HttpHandler } from "../http/exchange.ts";
import { type BodyPieces, Http1Exchange } from "../http/http1-exchange.ts";
import { hasSeveralHosts, joinAuthorization } from "../http/repeated-fields.ts";
import type { Activity, Connection } from "./connections.ts";
import type { PortLimits } from "./limits.ts";

export interface VersionOptions {
  readonly handler: HttpHandler;
  readonly limits: PortLimits;
  readonly onError: (error: Error) => void;
}

/** The state of an HTTP/1.1 connection. */
class Http1Guard implements Activity, BodyPieces {
  open = 0;
  calls = 0;
  readonly #pieces: PieceCount;
  readonly #onFlood: () => void;

  constructor(mostTinyPieces: number, onFlood: () => void) {
    this.#pieces = new PieceCount(mostTinyPieces);
    this.#onFlood = onFlood;
  }

  get isBusy(): boolean {
    return this.open > 0;
  }

  begin(): void {
    this.open += 1;
    this.calls += 1;
    this.#pieces.payForCall();
  }

  messagesCame(count: number): void {
    this.#pieces.payForMessages(count);
  }

  count(bytes: number): void {
    if (this.#pieces.isFlood(bytes)) this.#onFlood();
  }

  /** Ends the connection for abuse. */
  cutOff(): void {
    this.#onFlood();
  }
}

/** HTTP/1.1 by Node's server, of which only the parser listens. */
export function createHttp1({ limits, handler, onError }: VersionOptions) {
  const guardOf = new WeakMap<object, Http1Guard>();
  const inFlight = new Set<http.ServerResponse>();
  let draining = false;
  const server = http.createServer({
    maxHeaderSize: limits.headerListBytes,
    headersTimeout: limits.headersTimeoutMs,
    requestTimeout: limits.requestTimeoutMs,
    keepAliveTimeout: limits.idleTimeoutMs,
    connectionsCheckingInterval: Math.ceil(limits.headersTimeoutMs / 2),
  });
  server.maxHeadersCount = limits.maxHeaders;
  server.on("request", (req, res) => {
    const guard = guardOf.get(req.socket);
    // The rest of the piece that held the call which ended the connection.
    if (req.socket.destroyed || guard === undefined) return;
    if (guard.open >= limits.maxConcurrentStreams) {
      guard.cutOff();
      return;
    }
    inFlight.add(res);
    guard.begin();
    if (draining) res.shouldKeepAlive = false;
    res.once("close", () => {
      inFlight.delete(res);
      guard.open -= 1;
      // An answer whose head had gone out before the drain leaves its connection idle, not closed.
      if (draining) setImmediate(() => server.closeIdleConnections());
    });
    if (hasSeveralHosts(req.rawHeaders)) {
      res.writeHead(400, { connection: "close" }).end();
      return;
    }
    joinAuthorization(req.headers, req.rawHeaders);
    try {
      handler(new Http1Exchange(req, res, guard));
    } catch (error) {
      onError(
        error instanceof Error ? error : new Error("a handler threw a value that is not an Error", { cause: error }),
      );
      res.destroy();
    }
  });
  // Node (26) tracks connections, and so enforces the two timeouts, only from this event on; this server never
  // listens itself.
  server.emit("listening");

  return {
    take(connection: Connection, socket: Socket): void {
      const guard = new Http1Guard(limits.mostTinyPieces, () => socket.destroy());
      guardOf.set(socket, guard);
      connection.activity = guard;
      server.emit("connection", socket);
      // Node (26) lets its parser read the records of TLS beside the stream, even after it has paused: a call that came
      // while an answer was unread ended the connection (HPE_PAUSED). A listener makes it read from the stream.
      if (socket instanceof TLSSocket) socket.on("data", () => undefined);
      socket.resume();
    },
    drain(): void {
      draining = true;
      for (const res of inFlight) res.shouldKeepAlive = false;
      // Closes idle connections and stops the timeouts' timer; there is no listening socket of its own to close.
      server.close();
    },
  };
}
