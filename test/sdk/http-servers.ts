import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import express from "express";
import fastify from "fastify";
import * as fastifyKeys from "../../src/sdk/fastify/index.ts";
import * as httpKeys from "../../src/sdk/http/index.ts";
import type { Verifier } from "../../src/sdk/verification.ts";

/** What all servers here understand. */
export interface Options {
  readonly scopes?: readonly string[];
  readonly anonymous?: boolean | (() => boolean);
  readonly method?: string;
  readonly environment?: "live" | "test" | "any";
  readonly clientIp?: () => string;
  readonly onRefused?: (request: object, refused: httpKeys.Refused) => httpKeys.OwnBody | undefined;
  readonly onUndecided?: (cause: unknown) => void;
}

/** Everything that a handler can find out about the headers of its last request. */
export interface Seen {
  headers?: string;
}

export interface HttpServer {
  readonly url: string;
  readonly seen: Seen;
  close(): Promise<void>;
}

function note(seen: Seen, { headers, rawHeaders, headersDistinct }: IncomingMessage): void {
  seen.headers = JSON.stringify([headers, rawHeaders, headersDistinct]);
}

export async function listen(listener: RequestListener, seen: Seen): Promise<HttpServer> {
  const server: Server = createServer(listener);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    seen,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** With keys required unless `options` is absent; each answers with the owner of the key. */
export const SERVERS: Record<string, (verifier: Verifier, options?: Options) => Promise<HttpServer>> = {
  "node:http": (verifier, options) => {
    const seen: Seen = {};
    const handle = (req: IncomingMessage, res: ServerResponse) => {
      note(seen, req);
      res.end(httpKeys.findPrincipal(req)?.key.owner ?? "nobody");
    };
    return listen(options === undefined ? handle : httpKeys.withKey(verifier, handle, options), seen);
  },
  express: (verifier, options) => {
    const seen: Seen = {};
    const app = express();
    if (options !== undefined) app.use(httpKeys.requireKey(verifier, options));
    app.all("/", (req, res) => {
      note(seen, req);
      res.send(httpKeys.findPrincipal(req)?.key.owner ?? "nobody");
    });
    return listen(app, seen);
  },
  fastify: async (verifier, options) => {
    const seen: Seen = {};
    const app = fastify();
    if (options !== undefined) app.addHook("onRequest", fastifyKeys.requireKey(verifier, options));
    app.all("/", async (request) => {
      note(seen, request.raw);
      seen.headers += JSON.stringify(request.headers);
      return fastifyKeys.findPrincipal(request)?.key.owner ?? "nobody";
    });
    const url = await app.listen({ host: "127.0.0.1", port: 0 });
    return { url: `${url}/`, seen, close: () => app.close() };
  },
};
