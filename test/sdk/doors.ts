import { fromBinary } from "@bufbuild/protobuf";
import { anyUnpack } from "@bufbuild/protobuf/wkt";
import { ConnectError } from "@connectrpc/connect";
import type { ServiceError } from "@grpc/grpc-js";
import { ErrorInfoSchema } from "#gen/google/rpc/error_details_pb.js";
import { StatusSchema } from "#gen/google/rpc/status_pb.js";
import { requireKey as connectRequireKey } from "../../src/sdk/connect/index.ts";
import { requireKey as grpcJsRequireKey } from "../../src/sdk/grpc-js/index.ts";
import type { RefusalBody } from "../../src/sdk/http/index.ts";
import type { Verifier } from "../../src/sdk/index.ts";
import { serveOrders as serveConnect } from "./connect-server.ts";
import { loadDefinition } from "./grpc-js-client.ts";
import { serveOrders as serveGrpcJs } from "./grpc-js-server.ts";
import { SERVERS } from "./http-servers.ts";
import { loadProtos } from "./orders.ts";

/**
 * A real server of one kind behind `requireKey`. `ping` asks for any good key, `write` for `orders:write` and
 * `orders:read`; both give the owner that the handler saw, or the verdict with which the call was refused.
 */
export interface Door {
  ping(secret: string): Promise<string>;
  write(secret: string): Promise<string>;
  close(): Promise<void> | void;
}

/** Every way of serving, behind that verifier. */
export const DOORS: Record<string, (verifier: Verifier) => Promise<Door>> = {
  connect: connectDoor,
  "grpc-js": grpcJsDoor,
  ...Object.fromEntries(
    Object.entries(SERVERS).map(([name, serve]) => [name, (verifier: Verifier) => httpDoor(serve, verifier)]),
  ),
};

async function connectDoor(verifier: Verifier): Promise<Door> {
  const { grpc, close } = await serveConnect(loadProtos().orders, [connectRequireKey(verifier)]);
  const outcomeOf = (call: Promise<{ value: string }>) =>
    call.then(
      ({ value }) => value,
      (error) => ConnectError.from(error).findDetails(ErrorInfoSchema)[0]?.metadata.verdict ?? String(error),
    );
  return {
    ping: (secret) => outcomeOf(grpc.ping({}, { headers: bearer(secret) })),
    write: (secret) => outcomeOf(grpc.write({}, { headers: bearer(secret) })),
    close,
  };
}

async function grpcJsDoor(verifier: Verifier): Promise<Door> {
  const { call, close } = await serveGrpcJs([grpcJsRequireKey(verifier, { services: [loadDefinition()] })]);
  const outcomeOf = (method: "ping" | "write", secret: string) =>
    call(method, bearer(secret)).then(
      ({ value }) => value,
      (error: ServiceError) => {
        const { details } = fromBinary(StatusSchema, error.metadata.get("grpc-status-details-bin")[0] as Buffer);
        return details[0] === undefined
          ? error.message
          : String(anyUnpack(details[0], ErrorInfoSchema)?.metadata.verdict);
      },
    );
  return { ping: (secret) => outcomeOf("ping", secret), write: (secret) => outcomeOf("write", secret), close };
}

type Serve = (typeof SERVERS)[string];

async function httpDoor(serve: Serve, verifier: Verifier): Promise<Door> {
  const open = await serve(verifier, {});
  const strict = await serve(verifier, { scopes: ["orders:write", "orders:read"] });
  const outcomeOf = async (url: string, secret: string) => {
    const response = await fetch(url, { headers: bearer(secret) });
    const body = await response.text();
    return response.ok ? body : String((JSON.parse(body) as RefusalBody).verdict);
  };
  return {
    ping: (secret) => outcomeOf(open.url, secret),
    write: (secret) => outcomeOf(strict.url, secret),
    close: async () => {
      await Promise.all([open.close(), strict.close()]);
    },
  };
}

function bearer(secret: string): Record<string, string> {
  return { authorization: `Bearer ${secret}` };
}
