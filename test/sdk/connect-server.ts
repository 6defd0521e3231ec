import { createServer, type SecureClientSessionOptions } from "node:http2";
import type { AddressInfo } from "node:net";
import {
  type ConnectRouter,
  type ContextValues,
  createClient,
  type HandlerContext,
  type Interceptor,
} from "@connectrpc/connect";
import { connectNodeAdapter, createConnectTransport, createGrpcTransport } from "@connectrpc/connect-node";
import { findPrincipal, peerValues } from "../../src/sdk/connect/index.ts";
import type { OrdersService } from "./orders.ts";

/** What a handler saw of its last call. */
export interface Seen {
  owner?: string | undefined;
  headers?: Record<string, string>;
  /** Why its reading of messages, or its waiting, ended. */
  endedBy?: unknown;
}

/** A real server of `Orders`, with handlers that say what they see, and clients of it. */
export async function serveOrders(orders: OrdersService, interceptors: Interceptor[], shared?: ContextValues) {
  const seen: Seen = {};
  const note = (context: HandlerContext) => {
    seen.owner = findPrincipal(context)?.key.owner;
    seen.headers = Object.fromEntries(context.requestHeader);
  };
  const answer = (_: unknown, context: HandlerContext) => {
    note(context);
    return { value: seen.owner ?? "nobody" };
  };
  const routes = (router: ConnectRouter) =>
    router.service(orders, {
      ping: answer,
      write: answer,
      browse: answer,
      async *watch(_, context) {
        note(context);
        yield { value: "first" };
        await new Promise((resolve) => context.signal.addEventListener("abort", resolve));
        seen.endedBy = context.signal.reason;
        yield { value: "after the end" };
      },
      async import(requests, context) {
        note(context);
        let count = 0;
        try {
          for await (const _ of requests) count += 1;
        } catch (error) {
          seen.endedBy = error;
        }
        return { value: String(count) };
      },
      async *chat(requests, context) {
        note(context);
        try {
          for await (const { value } of requests) yield { value };
        } catch (error) {
          seen.endedBy = error;
          throw error;
        }
      },
    });
  const server = createServer(
    connectNodeAdapter({ routes, interceptors, contextValues: (req) => peerValues(req, shared) }),
  );
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  const hangUp = new AbortController();
  const nodeOptions: SecureClientSessionOptions & { signal: AbortSignal } = { signal: hangUp.signal };
  const options = { baseUrl: `http://${address}`, nodeOptions };
  return {
    address,
    seen,
    grpc: createClient(orders, createGrpcTransport(options)),
    connect: createClient(orders, createConnectTransport({ ...options, httpVersion: "2" })),
    async close() {
      hangUp.abort();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

export type OrdersServer = Awaited<ReturnType<typeof serveOrders>>;
