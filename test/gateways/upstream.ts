import { createServer, type IncomingHttpHeaders } from "node:http";
import { createServer as createHttp2Server } from "node:http2";
import { freePort } from "../../testkit/free-port.ts";

/** A service behind a gateway. */
export interface Upstream {
  readonly httpPort: number;
  readonly grpcPort: number;
  /** The headers of the last request. */
  last(): IncomingHttpHeaders;
  close(): Promise<void>;
}

/** Starts a service that answers each HTTP request with 200 and its headers in JSON, and each gRPC call with status 0. */
export async function startUpstream(): Promise<Upstream> {
  let last: IncomingHttpHeaders = {};
  const http = createServer((request, response) => {
    last = request.headers;
    response.end(JSON.stringify(request.headers));
  });
  const grpc = createHttp2Server((request, response) => {
    last = request.headers;
    request.resume();
    response.writeHead(200, { "content-type": "application/grpc", "grpc-status": "0" });
    response.end();
  });
  const [httpPort, grpcPort] = [await freePort(), await freePort()];
  await new Promise<void>((resolve) => http.listen(httpPort, "127.0.0.1", resolve));
  await new Promise<void>((resolve) => grpc.listen(grpcPort, "127.0.0.1", resolve));
  return {
    httpPort,
    grpcPort,
    last: () => last,
    close: async () => {
      http.closeAllConnections();
      // Gateways keep connections, and have ended before this.
      await Promise.all([http, grpc].map((server) => new Promise((resolve) => server.close(resolve))));
    },
  };
}
