import { once } from "node:events";
import { createServer, type ServerHttp2Session } from "node:http2";
import type { AddressInfo } from "node:net";
import { create } from "@bufbuild/protobuf";
import { StringValueSchema } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, type HandlerContext, type ServiceImpl } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { ABORT, Doorkeeper, type EchoServer, REFUSE_LATE } from "./doorkeeper.ts";
import { Echo } from "./echo-service.ts";

/** `Echo` on connect-node, which answers a refusal with headers and trailers. */
export async function startConnectEcho(): Promise<EchoServer> {
  const door = new Doorkeeper();
  const server = createServer(connectNodeAdapter({ routes: (router) => router.service(Echo, echo(door)) }));
  const sessions = new Set<ServerHttp2Session>();
  server.on("session", (session) => {
    sessions.add(session);
    session.on("close", () => sessions.delete(session));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    door,
    close: async () => {
      for (const session of sessions) session.destroy();
      server.close();
      await once(server, "close");
    },
  };
}

function echo(door: Doorkeeper): ServiceImpl<typeof Echo> {
  return {
    unary: ({ value }, context) => {
      letIn(door, context);
      if (value === ABORT) throw new ConnectError("aborted", Code.Aborted);
      return { value };
    },
    async *serverStream({ value }, context) {
      letIn(door, context);
      for (const index of [1, 2, 3]) {
        yield create(StringValueSchema, { value: `${value} ${index}` });
        if (value === ABORT) throw new ConnectError("aborted", Code.Aborted);
        if (value === REFUSE_LATE) throw new ConnectError("late", Code.Unauthenticated);
      }
    },
    async clientStream(requests, context) {
      letIn(door, context);
      const values: string[] = [];
      for await (const { value } of requests) values.push(value);
      return { value: values.join(" ") };
    },
    async *bidi(requests, context) {
      letIn(door, context);
      for await (const { value } of requests) yield create(StringValueSchema, { value });
    },
  };
}

function letIn(door: Doorkeeper, context: HandlerContext): void {
  const { isAccepted, retires } = door.decide(context.requestHeader.get("authorization") ?? "none");
  if (retires !== undefined) context.responseTrailer.set("claviger-secret-retires", retires);
  if (!isAccepted) throw new ConnectError("refused", Code.Unauthenticated);
  context.responseHeader.set("let-in", "yes");
}
