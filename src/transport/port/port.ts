import { once } from "node:events";
import * as http from "node:http";
import * as http2 from "node:http2";
import * as net from "node:net";
import { type BodyBudget, PieceCount } from "../overload/body-budget.ts";
import type { HttpHandler } from "../router/http-messages.ts";
import { hasSeveralHosts, joinAuthorization } from "../router/repeated-fields.ts";
import { type Activity, type Connection, Connections } from "./connections.ts";
import { LastingCalls } from "./lasting-calls.ts";
import { listenError } from "./listen-error.ts";
import { LOOK_MS, type OpenCalls, SessionGuard } from "./session-guard.ts";
import { SlowReturn } from "./slow-return.ts";
import { sniffHttp2 } from "./sniff-http2.ts";

/** Limits of one connection. The numbers live with the server's other policy. */
export interface PortLimits extends Partial<AbuseLimits> {
  /** Connections open at once. A further one takes the place of one that is idle: see `Connections`. */
  readonly maxConnections: number;
  /**
   * Calls open at once on one connection: HTTP/2 streams (SETTINGS_MAX_CONCURRENT_STREAMS), and HTTP/1.1 requests that
   * are sent without waiting for answers, of which one too many ends the connection.
   */
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

/** Against HTTP/2 clients that cost more than their calls. Without a number there is no such limit, or Node's own. */
export interface AbuseLimits {
  /** Longest message of a call: what it may send beside its header list. */
  readonly maxMessageBytes: number;
  /** Bytes a second that belong to no call. */
  readonly idleBytesPerSecond: number;
  /** Milliseconds that an answer may wait for its client to take it. */
  readonly unreadAnswerMs: number;
  /**
   * Calls that may stay open, on all connections. A further one is ended after a tenth of a second, or one of an address
   * or a connection with more of them; and an answer may wait no longer. Where a quarter more are open, the next is refused at once.
   */
  readonly mostOpenCalls: number;
  /** Answers that may wait on a connection that takes next to nothing; where there are more, they may for `deafMs` only. */
  readonly mostUnreadAnswers: number;
  readonly deafMs: number;
  /**
   * Pieces of bodies (DATA frames, chunks) below 64 bytes on one connection, beyond eight for each call and each message:
   * each takes as much CPU as a full one.
   */
  readonly mostTinyPieces: number;
  /** Calls that a client may take back at once, and every second from then on. */
  readonly streamResetBurst: number;
  readonly streamResetRate: number;
  /** Frames that are wrong or empty, and calls refused before they began, in the life of a connection. */
  readonly maxSessionInvalidFrames: number;
  readonly maxSessionRejectedStreams: number;
  /**
   * Milliseconds that new connections wait from where one was cut off for a flood, unless that address also has
   * connections that behave. Less than clients wait for a connection.
   */
  readonly returnMs: number;
}

/** Limits that no operator has a reason to change. */
export const FIXED_LIMITS = {
  maxHeaders: 100,
  mostUnreadAnswers: 32,
  deafMs: 1000,
  /** As Node (26) has them. */
  maxSessionInvalidFrames: 1000,
  maxSessionRejectedStreams: 100,
  firstByteTimeoutMs: 10_000,
  headersTimeoutMs: 10_000,
} as const;

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
  /**
   * Called with failures that belong to no call, such as running out of file descriptors. Default: they are dropped.
   */
  readonly onError?: (error: Error) => void;
}

export interface Port {
  /** Starts listening. Rejects with an Error that says what to do when the address cannot be used. */
  listen(): Promise<{ readonly host: string; readonly port: number; readonly url: string }>;
  /**
   * Stops: no new connection, GOAWAY or `connection: close` on the open ones, calls in flight finish; what is left
   * after `drainMs` is cut off. Resolves when every connection is closed. Further calls wait for the same end.
   */
  drain(): Promise<void>;
  /**
   * Counts the bodies that come on connections: a long one may send more than a call may, and none may come in too many
   * tiny pieces. A connection is its HTTP/2 session or its HTTP/1.1 socket.
   */
  readonly budget: BodyBudget;
}

/** One cleartext TCP port that speaks HTTP/1.1 and HTTP/2 by prior knowledge. */
export function createPort(options: PortOptions): Port {
  const { limits, onError = () => {} } = options;
  const sockets = new Set<net.Socket>();
  const undecided = new Set<net.Socket>();
  const connections = new Connections(limits.maxConnections);
  const hasBehaving = (address: string) => connections.hasBehaving(address);
  const slowReturn = new SlowReturn({ waitMs: limits.returnMs ?? 0, hasBehaving });
  const onFlood = (connection: Connection) => {
    connections.delete(connection);
    slowReturn.note(connection.address);
  };
  const http1 = createHttp1({ ...options, onError, onFlood });
  const h2 = createHttp2({ ...options, onError, onFlood });
  const sweep = setInterval(() => connections.look(), LOOK_MS).unref();

  const server = net.createServer(
    { noDelay: true, keepAlive: true, keepAliveInitialDelay: limits.idleTimeoutMs },
    (socket) => void accept(socket).catch(onError),
  );

  async function accept(socket: net.Socket): Promise<void> {
    socket.on("error", () => {});
    const connection = connections.add(socket);
    if (connection === undefined) {
      socket.destroy();
      return;
    }
    sockets.add(socket);
    undecided.add(socket);
    socket.once("close", () => {
      sockets.delete(socket);
      connections.delete(connection);
    });
    const wait = slowReturn.wait(socket);
    if (wait !== undefined) await wait;
    const isHttp2 = socket.destroyed ? undefined : await sniffHttp2(socket, limits.firstByteTimeoutMs);
    undecided.delete(socket);
    if (isHttp2 === undefined || socket.destroyed) return;
    if (isHttp2) h2.take(connection);
    else http1.take(connection);
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
    clearInterval(sweep);
  }

  return {
    drain,
    budget: {
      credit: (connection, bytes) => h2.guardOf(connection)?.credit(bytes),
      piece(connection, bytes, messages) {
        const h2Guard = h2.guardOf(connection);
        if (h2Guard !== undefined) h2Guard.piece(bytes, messages);
        else http1.guardOf(connection)?.piece(bytes, messages);
      },
    },
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

interface VersionOptions extends Pick<PortOptions, "handler" | "streams" | "limits"> {
  readonly onError: (error: Error) => void;
  /** Called with each connection that was cut off for a flood. */
  readonly onFlood: (connection: Connection) => void;
}

/** The state of an HTTP/1.1 connection. */
class Http1Guard implements Activity {
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
    this.#pieces.call();
  }

  piece(bytes: number, messages: number): void {
    if (this.#pieces.isFlood(bytes, messages)) this.#onFlood();
  }

  /** Ends the connection for abuse. */
  cutOff(): void {
    this.#onFlood();
  }
}

function createHttp1({ limits, handler, onError, onFlood }: VersionOptions) {
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
    // Connect (2.2) stops listening when the answer is closed; an error that is under way then would end the process.
    req.on("error", () => {});
    // The rest of the piece that held the call which ended the connection.
    if (req.socket.destroyed) return;
    const guard = guardOf.get(req.socket);
    if (guard !== undefined && guard.open >= limits.maxConcurrentStreams) {
      guard.cutOff();
      return;
    }
    inFlight.add(res);
    guard?.begin();
    if (draining) res.shouldKeepAlive = false;
    res.once("close", () => {
      inFlight.delete(res);
      if (guard !== undefined) guard.open -= 1;
      // An answer whose head had gone out before the drain leaves its connection idle, not closed.
      if (draining) setImmediate(() => server.closeIdleConnections());
    });
    if (hasSeveralHosts(req.rawHeaders)) {
      res.writeHead(400, { connection: "close" }).end();
      return;
    }
    joinAuthorization(req.headers, req.rawHeaders);
    try {
      handler(req, res);
    } catch (error) {
      onError(asError(error));
      res.destroy();
    }
  });
  // Node (26) tracks connections, and so enforces the two timeouts, only from this event on; this server never
  // listens itself.
  server.emit("listening");

  return {
    guardOf: (connection: object) => guardOf.get(connection),
    take(connection: Connection): void {
      const { socket } = connection;
      const guard = new Http1Guard(limits.mostTinyPieces ?? Number.POSITIVE_INFINITY, () => {
        onFlood(connection);
        socket.destroy();
      });
      guardOf.set(socket, guard);
      connection.activity = guard;
      server.emit("connection", socket);
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

function createHttp2({ limits, handler, streams, onError, onFlood }: VersionOptions) {
  const guards = new Set<SessionGuard>();
  const guardOf = new WeakMap<object, SessionGuard>();
  const calls: OpenCalls = {
    count: 0,
    lasting: new LastingCalls(limits.mostOpenCalls ?? Number.POSITIVE_INFINITY),
  };
  const { maxConcurrentStreams, headerListBytes, maxMessageBytes = Number.POSITIVE_INFINITY } = limits;
  const none = Number.POSITIVE_INFINITY;
  const unread = { unreadAnswerMs: none, mostOpenCalls: none, mostUnreadAnswers: none, deafMs: none };
  const unbound = { idleBytesPerSecond: none, mostTinyPieces: none, ...unread };
  const guardLimits = { ...unbound, ...limits, callBytes: headerListBytes + maxMessageBytes + CALL_OVERHEAD_BYTES };
  const server = http2.createServer(
    { ...nodeLimits(limits), settings: { maxConcurrentStreams, maxHeaderListSize: headerListBytes } },
    streams === undefined ? handler : undefined,
  );
  if (streams !== undefined) {
    server.on("stream", (stream: http2.ServerHttp2Stream, headers, _flags, rawHeaders: string[]) => {
      if (calls.count >= MOST_AT_ONCE * guardLimits.mostOpenCalls) {
        stream.on("error", () => {}).close(http2.constants.NGHTTP2_REFUSED_STREAM);
        return;
      }
      try {
        joinAuthorization(headers, rawHeaders);
        streams(stream, headers);
      } catch (error) {
        onError(asError(error));
        stream.close(http2.constants.NGHTTP2_INTERNAL_ERROR);
      }
    });
  }
  let isDraining = false;
  const sweep = setInterval(() => {
    for (const guard of guards) {
      if (isDraining) guard.lookWhileDraining();
      else guard.look();
    }
    if (isDraining && guards.size === 0) clearInterval(sweep);
  }, LOOK_MS);
  sweep.unref();

  function take(connection: Connection): void {
    const { socket, address } = connection;
    server.once("session", (session: http2.ServerHttp2Session) => {
      const guard = new SessionGuard(session, { socket, address, calls }, guardLimits);
      guards.add(guard);
      readNothingOnceEnded(socket, session);
      guardOf.set(session, guard);
      connection.activity = guard;
      connection.displace = () => guard.displace();
      let isFlood = false;
      session.once("error", (error: NodeJS.ErrnoException) => {
        isFlood = error.code === TOO_MANY_INVALID_FRAMES || error.errno === NGHTTP2_ERR_FLOODED;
      });
      session.once("close", () => {
        guards.delete(guard);
        if (isFlood || guard.isCutOff) onFlood(connection);
      });
    });
    server.emit("connection", socket);
  }

  return {
    take,
    guardOf: (connection: object) => guardOf.get(connection),
    drain(): void {
      isDraining = true;
      for (const { session } of guards) session.close();
    },
  };
}

/**
 * Node (26) hands a session, a tick after it was made, all that was read before it; also what comes after that has ended
 * it, and throws then. After that tick the socket must be read again: else it is not seen that the client hangs up.
 */
function readNothingOnceEnded(socket: net.Socket, session: http2.ServerHttp2Session): void {
  const read = socket.read.bind(socket);
  socket.read = (size) => (session.destroyed ? null : read(size));
  process.nextTick(() => {
    socket.read = read;
  });
}

/**
 * Errors by which Node (26) ends a connection for a flood. By others the client went, or broke the protocol once, as with
 * a body that is not as long as its `content-length`: one line of bytes, which costs the server nothing.
 */
const TOO_MANY_INVALID_FRAMES = "ERR_HTTP2_TOO_MANY_INVALID_FRAMES";
/** By nghttp2. */
const NGHTTP2_ERR_FLOODED = -904;

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error("a handler threw a value that is not an Error", { cause: error });
}

/** Calls that may be open before the next check of connections, as a multiple of those that may stay open. */
const MOST_AT_ONCE = 1.25;

/** Frames' heads, and control frames about a call. */
const CALL_OVERHEAD_BYTES = 4096;

/** Those that Node (26) keeps to by itself. It takes no option that is there but undefined. */
function nodeLimits(limits: PortLimits): http2.ServerOptions {
  const { streamResetBurst, streamResetRate, maxSessionInvalidFrames, maxSessionRejectedStreams } = limits;
  const named = { streamResetBurst, streamResetRate, maxSessionInvalidFrames, maxSessionRejectedStreams };
  const given = Object.entries({ ...named, maxHeaderListPairs: limits.maxHeaders });
  return Object.fromEntries(given.filter(([, value]) => value !== undefined));
}
