import { once } from "node:events";
import { createServer } from "node:http2";
import type { ConnectRouter } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";

/** A server on a free port of this machine, for tests. */
export interface FakeServer {
  readonly url: string;
  close(): Promise<void>;
}

/** Serves what `routes` registers, over cleartext HTTP/2. */
export async function startFakeServer(routes: (router: ConnectRouter) => void): Promise<FakeServer> {
  const server = createServer(connectNodeAdapter({ routes }));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("the fake server has no port");
  return {
    url: `http://127.0.0.1:${address.port}`,
    close: async () => {
      server.close();
      await once(server, "close");
    },
  };
}
