import { createServer } from "node:http";
import { fileURLToPath } from "node:url";
import { durationMs } from "@bufbuild/protobuf/wkt";
import { loadPackageDefinition, Server, ServerCredentials, type ServiceDefinition } from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import { Verdict } from "#gen/claviger/v1/key_verifier_pb.js";
import type { Clients } from "../../testkit/connect.ts";
import { freePort } from "../../testkit/free-port.ts";

type Headers = Readonly<Record<string, string>>;

interface Decision {
  readonly status: number;
  readonly headers: Headers;
}

/** Stands in for the server's own `/authz` and `Check`: answers as they do, after a `Verify` by the real server. */
export interface StandIn {
  readonly grpcPort: number;
  readonly httpPort: number;
  /** The questions so far. */
  asked(): number;
  /** Whether each further question ends without a decision. */
  setDown(isDown: boolean): void;
  close(): Promise<void>;
}

const SCOPES = ["orders:read"];

/** Starts a stand-in that verifies at `clients`, and requires the scope `orders:read`. */
export async function startStandIn({ verifier }: Clients): Promise<StandIn> {
  let asked = 0;
  let down = false;
  const decide = async (sent: Headers): Promise<Decision> => {
    asked++;
    if (down) throw new Error("down");
    const secret = sent.authorization?.replace(/^Bearer /, "") ?? sent["x-api-key"];
    if (secret === undefined) return { status: 401, headers: { "www-authenticate": "Bearer" } };
    const { verdict, key, retryAfter } = await verifier.verify({ secret, requiredScopes: SCOPES });
    if (verdict === Verdict.VALID && key !== undefined) return { status: 200, headers: identity(key) };
    if (verdict === Verdict.SCOPE_MISSING) return { status: 403, headers: {} };
    const seconds = String(Math.max(1, Math.ceil((retryAfter ? durationMs(retryAfter) : 0) / 1000)));
    if (verdict === Verdict.RATE_LIMITED || verdict === Verdict.QUOTA_EXHAUSTED) {
      return { status: 429, headers: { "retry-after": seconds } };
    }
    return { status: 401, headers: { "www-authenticate": 'Bearer error="invalid_token"' } };
  };

  const http = createServer((request, response) => {
    const sent = request.headers as Headers;
    decide(sent).then(
      ({ status, headers }) => response.writeHead(status, { ...headers, "cache-control": "no-store" }).end(),
      () => response.writeHead(503, { "retry-after": "1", "cache-control": "no-store" }).end(),
    );
  });
  const httpPort = await freePort();
  await new Promise<void>((resolve) => http.listen(httpPort, "127.0.0.1", resolve));

  const grpc = new Server();
  grpc.addService(authorization(), {
    Check: (call: { request: CheckRequest }, respond: (error: object | null, answer?: object) => void) => {
      const { http: asks } = call.request.attributes.request;
      const raw = asks.header_map?.headers.map(({ key, raw_value }) => [key, raw_value.toString()]) ?? [];
      const sent: Headers = { ...asks.headers, ...Object.fromEntries(raw) };
      const isGrpc = sent["content-type"]?.startsWith("application/grpc") === true;
      decide(sent).then(
        (decision) => respond(null, checkAnswer(decision, isGrpc)),
        () => respond({ code: 14, details: "the key could not be verified. Retry" }),
      );
    },
  });
  const grpcPort = await new Promise<number>((resolve, reject) =>
    grpc.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, port) =>
      error ? reject(error) : resolve(port),
    ),
  );
  return {
    httpPort,
    grpcPort,
    asked: () => asked,
    setDown: (isDown) => {
      down = isDown;
    },
    close: async () => {
      grpc.forceShutdown();
      http.closeAllConnections();
      await new Promise((resolve) => http.close(resolve));
    },
  };
}

interface CheckRequest {
  readonly attributes: {
    readonly request: {
      readonly http: {
        readonly headers: Headers;
        readonly header_map?: { readonly headers: readonly { readonly key: string; readonly raw_value: Buffer }[] };
      };
    };
  };
}

function authorization(): ServiceDefinition {
  const file = fileURLToPath(new URL("stand-in.proto", import.meta.url));
  const loaded = loadPackageDefinition(loadSync(file, { keepCase: true })) as unknown as {
    envoy: { service: { auth: { v3: { Authorization: { service: ServiceDefinition } } } } };
  };
  return loaded.envoy.service.auth.v3.Authorization.service;
}

function checkAnswer({ status, headers }: Decision, isGrpc: boolean): object {
  const grpcStatus = isGrpc && status === 429 ? { "grpc-status": "8" } : {};
  const options = Object.entries({ ...headers, ...grpcStatus }).map(([key, value]) => ({
    header: { key, value },
    append_action: 2,
  }));
  if (status !== 200) {
    return { status: { code: 7 }, denied_response: { status: { code: status }, headers: options, body: "denied" } };
  }
  const removed = ["authorization", "x-api-key"];
  return { status: { code: 0 }, ok_response: { headers: options, headers_to_remove: removed } };
}

function identity(key: { id: string; owner: string; scopes: readonly string[]; secretVersion: number }): Headers {
  return {
    "x-claviger-key-id": key.id,
    "x-claviger-owner": key.owner,
    "x-claviger-scopes": key.scopes.join(" ") || "-",
    "x-claviger-environment": "live",
    "x-claviger-secret-version": String(key.secretVersion),
  };
}
