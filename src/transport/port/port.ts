import { once } from "node:events";
import * as net from "node:net";
import type { Http2Stream } from "../../http2/stream.ts";
import type { HttpHandler } from "../http/exchange.ts";
import { Http2Exchange } from "../http/http2-exchange.ts";
import { Connections } from "./connections.ts";
import { createHttp1 } from "./http1.ts";
import { createHttp2 } from "./http2.ts";
import { LOOK_MS } from "./http2-watch.ts";
import type { PortLimits } from "./limits.ts";
import { listenError } from "./listen-error.ts";
import { sniffHttp2 } from "./sniff-http2.ts";
import type { TlsDoor } from "./tls.ts";

export interface PortOptions {
  /** Host name or address to listen on. */
  readonly host: string;
  /** TCP port; 0 takes a free one. */
  readonly port: number;
  /** Serves every request, of both HTTP versions. */
  readonly handler: HttpHandler;
  /** Takes HTTP/2 streams before they become requests. Default: all become requests. */
  readonly streams?: (stream: Http2Stream) => void;
  /** Default: cleartext. */
  readonly tls?: TlsDoor | undefined;
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
}

/**
 * One TCP port that speaks HTTP/1.1 and HTTP/2: in clear by prior knowledge, over TLS with ALPN. The first bytes decide in
 * both cases.
 */
export function createPort(options: PortOptions): Port {
  const { limits, onError = () => {} } = options;
  const sockets = new Set<net.Socket>();
  const undecided = new Set<net.Socket>();
  const connections = new Connections(limits.maxConnections);
  const { handler, streams = (stream: Http2Stream) => handler(new Http2Exchange(stream)) } = options;
  const http1 = createHttp1({ handler, limits, onError });
  const h2 = createHttp2({ streams, limits, onError });
  const { tls: door } = options;
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
    const secured = door === undefined ? socket : await door.enter(socket, limits.firstByteTimeoutMs);
    const isHttp2 = secured && (await sniffHttp2(secured, limits.firstByteTimeoutMs));
    undecided.delete(socket);
    if (secured === undefined || isHttp2 === undefined || secured.destroyed) return;
    if (isHttp2) h2.take(connection, secured);
    else http1.take(connection, secured);
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
      return { host: address.address, port: address.port, url: `${door ? "https" : "http"}://${host}:${address.port}` };
    },
  };
}
