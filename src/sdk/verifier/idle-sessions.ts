import type { ClientHttp2Session, ClientHttp2Stream } from "node:http2";
import type { GrpcTransportOptions, Http2SessionManager } from "@connectrpc/connect-node";

/** The part of a session manager that a transport uses. */
export type SessionManager = NonNullable<GrpcTransportOptions["sessionManager"]>;

/** Handles `error` events of HTTP/2 sessions: one that breaks after its manager dropped it would end the process. */
export function handleErrors(manager: Http2SessionManager): SessionManager {
  return wrap(manager, (session) => {
    if (!session.listeners("error").includes(ignore)) session.on("error", ignore);
  });
}

/** Does the same, and keeps sessions from holding the process alive, even while a stream is open. */
export function letProcessEnd(manager: Http2SessionManager): SessionManager {
  return wrap(manager, (session) => {
    if (!session.listeners("error").includes(ignore)) session.on("error", ignore);
    session.unref();
  });
}

function wrap(manager: Http2SessionManager, use: (session: ClientHttp2Session) => void): SessionManager {
  return {
    authority: manager.authority,
    notifyResponseByteRead: (stream) => manager.notifyResponseByteRead(stream),
    async request(...args): Promise<ClientHttp2Stream> {
      const stream = await manager.request(...args);
      // The session of a client stream is a client session.
      if (stream.session !== undefined) use(stream.session as ClientHttp2Session);
      return stream;
    },
  };
}

function ignore(): void {
  // The manager or the stream has reported the error.
}
