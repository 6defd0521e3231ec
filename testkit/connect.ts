import { connect as netConnect } from "node:net";
import { type Client, createClient, type Interceptor } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { KeyManagement } from "#gen/claviger/v1/key_management_pb.js";
import { KeyVerifier } from "#gen/claviger/v1/key_verifier_pb.js";

/** Both services as one caller. */
export interface Clients {
  readonly keys: Client<typeof KeyManagement>;
  readonly verifier: Client<typeof KeyVerifier>;
}

/** Both services at `url` over gRPC, from `localAddress` if one is given. */
export function connect(url: string, token?: string, localAddress?: string): Clients {
  const authorize: Interceptor = (next) => (request) => {
    if (token !== undefined) request.header.set("authorization", `Bearer ${token}`);
    return next(request);
  };
  const createConnection = ({ hostname, port }: URL) =>
    netConnect({ host: hostname, port: Number(port), localAddress });
  const nodeOptions = localAddress === undefined ? {} : { createConnection };
  const transport = createGrpcTransport({ baseUrl: url, interceptors: [authorize], nodeOptions });
  return { keys: createClient(KeyManagement, transport), verifier: createClient(KeyVerifier, transport) };
}
