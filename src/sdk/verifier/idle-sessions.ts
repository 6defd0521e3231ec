import type { ClientHttp2Session, ClientHttp2Stream } from "node:http2";
import type { GrpcTransportOptions, Http2SessionManager } from "@connectrpc/connect-node";

/** What a transport needs of a session manager. */
export type SessionManager = NonNullable<GrpcTransportOptions["sessionManager"]>;

/** An HTTP/2 session that breaks after its manager has let go of it would end the process with its `error` event. */
export function heedErrors(manager: Http2SessionManager): SessionManager {
  return wrap(manager, (session) => {
    if (!session.listeners("error").includes(ignore)) session.on("error", ignore);
  });
}

/** The same, and the session keeps no process alive, even while a stream is open on it. */
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
      // A client's streams have a client's session.
      if (stream.session !== undefined) use(stream.session as ClientHttp2Session);
      return stream;
    },
  };
}

function ignore(): void {
  // The manager, or the stream, has told of it.
}
