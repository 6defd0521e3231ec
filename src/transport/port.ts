import { once } from "node:events";
import * as http from "node:http";
import * as http2 from "node:http2";
import * as net from "node:net";
import type { HttpHandler } from "./http-messages.ts";
import { listenError } from "./listen-error.ts";
import { sniffHttp2 } from "./sniff-http2.ts";

/** What one connection may take. All are required: the numbers live with the server's other policy. */
export interface PortLimits {
  /** Connections open at once; further ones are closed on arrival. */
  readonly maxConnections: number;
  /** HTTP/2 streams open at once on one connection (SETTINGS_MAX_CONCURRENT_STREAMS). */
  readonly maxConcurrentStreams: number;
  /**
   * Bytes of one request's header list, on both HTTP versions. An HTTP/2 client that has not acknowledged the server's
   * settings yet, as on its first requests, may send 64 KiB (Node 26).
   */
  readonly headerListBytes: number;
  /** Header fields of one request. HTTP/2 refuses more; HTTP/1.1 ignores the rest. */
  readonly maxHeaders: number;
  /** Milliseconds from connecting until it is plain which HTTP version the client speaks. */
  readonly firstByteTimeoutMs: number;
  /** Milliseconds for the head of an HTTP/1.1 request. At most `requestTimeoutMs`. */
  readonly headersTimeoutMs: number;
  /** Milliseconds for an HTTP/1.1 request with its body. HTTP/2 bodies are bound by the call's deadline. */
  readonly requestTimeoutMs: number;
  /** Milliseconds that a connection without an open call is kept. */
  readonly idleTimeoutMs: number;
  /** Milliseconds that `drain` waits for calls in flight before it cuts them off. */
  readonly drainMs: number;
}

export interface PortOptions {
  /** Host name or address to listen on. */
  readonly host: string;
  /** TCP port; 0 takes a free one. */
  readonly port: number;
  /** Serves every request, of both HTTP versions. */
  readonly handler: HttpHandler;
  /** Takes HTTP/2 streams before they become requests. Default: all become requests. */
  readonly streams?: (stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders) => void;
  readonly limits: PortLimits;
  /** Told of failures that belong to no call, such as running out of file descriptors. Default: they are dropped. */
  readonly onError?: (error: Error) => void;
}

export interface Port {
  /** Starts listening. Rejects with an Error that says what to do when the address cannot be had. */
  listen(): Promise<{ readonly host: string; readonly port: number; readonly url: string }>;
  /**
   * Stops: no new connection, GOAWAY or `connection: close` on the open ones, calls in flight finish; what is left
   * after `drainMs` is cut off. Resolves when every connection is closed. Further calls wait for the same end.
   */
  drain(): Promise<void>;
}

/** One cleartext TCP port that speaks HTTP/1.1 and HTTP/2 by prior knowledge. */
export function createPort(options: PortOptions): Port {
  const { limits, handler, onError = () => {} } = options;
  const sockets = new Set<net.Socket>();
  const undecided = new Set<net.Socket>();
  const http1 = createHttp1(limits, handler);
  const h2 = createHttp2(limits, options);

  const server = net.createServer(
    { noDelay: true, keepAlive: true, keepAliveInitialDelay: limits.idleTimeoutMs },
    (socket) => void accept(socket),
  );
  server.maxConnections = limits.maxConnections;

  async function accept(socket: net.Socket): Promise<void> {
    sockets.add(socket);
    undecided.add(socket);
    socket.once("close", () => sockets.delete(socket));
    socket.on("error", () => {});
    const isHttp2 = await sniffHttp2(socket, limits.firstByteTimeoutMs);
    undecided.delete(socket);
    if (isHttp2 === undefined || socket.destroyed) return;
    if (isHttp2) {
      h2.server.emit("connection", socket);
    } else {
      http1.server.emit("connection", socket);
      socket.resume();
    }
  }

  async function drain(): Promise<void> {
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    for (const socket of undecided) socket.destroy();
    http1.drain();
    h2.drain();
    const cutOff = setTimeout(() => {
      for (const socket of sockets) socket.destroy();
    }, limits.drainMs);
    await closed;
    clearTimeout(cutOff);
  }

  return {
    drain,
    async listen() {
      try {
        server.listen({ host: options.host, port: options.port });
        await once(server, "listening");
      } catch (cause) {
        throw listenError(options, cause);
      }
      server.on("error", onError);
      const address = server.address();
      if (address === null || typeof address === "string") throw new Error("not a TCP port: listen on host and port");
      const host = address.family === "IPv6" ? `[${address.address}]` : address.address;
      return { host: address.address, port: address.port, url: `http://${host}:${address.port}` };
    },
  };
}

function createHttp1(limits: PortLimits, handler: HttpHandler) {
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
    inFlight.add(res);
    if (draining) res.shouldKeepAlive = false;
    res.once("close", () => {
      inFlight.delete(res);
      // An answer whose head had gone out before the drain leaves its connection idle, not closed.
      if (draining) setImmediate(() => server.closeIdleConnections());
    });
    handler(req, res);
  });
  // Node (26) tracks connections, and so enforces the two timeouts, only from this event on; this server never
  // listens itself.
  server.emit("listening");

  return {
    server,
    drain(): void {
      draining = true;
      for (const res of inFlight) res.shouldKeepAlive = false;
      // Closes idle connections and stops the timeouts' timer; there is no listening socket of its own to close.
      server.close();
    },
  };
}

function createHttp2(limits: PortLimits, { handler, streams }: Pick<PortOptions, "handler" | "streams">) {
  const sessions = new Set<SessionUse>();
  const server = http2.createServer(
    {
      settings: { maxConcurrentStreams: limits.maxConcurrentStreams, maxHeaderListSize: limits.headerListBytes },
      maxHeaderListPairs: limits.maxHeaders,
    },
    streams === undefined ? handler : undefined,
  );
  if (streams !== undefined) server.on("stream", streams);
  server.on("session", (session) => {
    const use = new SessionUse(session);
    sessions.add(use);
    session.once("close", () => sessions.delete(use));
  });
  // Node's own timeout of a session is set anew for each frame, which took 2 % of a verification.
  const sweep = setInterval(() => {
    for (const use of sessions) use.look();
  }, limits.idleTimeoutMs / LOOKS);
  sweep.unref();

  return {
    server,
    drain(): void {
      clearInterval(sweep);
      for (const { session } of sessions) session.close();
    },
  };
}

/** Looks at a connection to find it idle: as many in a row as there are in the time that it may be. */
const LOOKS = 4;

/** Whether a connection has calls, or had some lately. A quiet call is not an idle connection. */
class SessionUse {
  readonly session: http2.ServerHttp2Session;
  #open = 0;
  #idleLooks = 0;

  constructor(session: http2.ServerHttp2Session) {
    this.session = session;
    const onClosed = () => {
      this.#open -= 1;
    };
    session.on("stream", (stream) => {
      this.#open += 1;
      this.#idleLooks = 0;
      stream.on("close", onClosed);
    });
  }

  /** TCP keep-alive finds the peers that are gone. */
  look(): void {
    this.#idleLooks = this.#open === 0 ? this.#idleLooks + 1 : 0;
    if (this.#idleLooks > LOOKS) this.session.close();
  }
}
