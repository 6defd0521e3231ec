import { timestampDate } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import { Call } from "../rpc/call.ts";
import { readAbout } from "../rpc/codec/encode-verification.ts";
import { askerOf } from "../rpc/key-verifier.ts";
import type { HttpExchange } from "../transport/http/exchange.ts";
import { ANY_KEY } from "../wire/access.ts";
import { API_KEY, AUTHORIZATION, isLeftForHandler, readCredential } from "../wire/credential.ts";
import { type Refusal, refusalOfError } from "../wire/refusal.ts";
import { refusalResponse } from "../wire/refusal-response.ts";
import { clientAddress } from "./client-address.ts";
import { decideForGateway, type GatewayAnswer, unknownPolicy } from "./decide.ts";
import { type GatewayDeps, logDecision } from "./gateway-deps.ts";
import { identityHeaders, RETIRES_HEADER } from "./identity-headers.ts";
import { isGrpcType } from "./usage-methods.ts";

/** The name of these calls in logs and metrics. */
export const AUTHZ_METHOD = "claviger.http/Authz";

/** The segment in place of a policy's name for "any valid key", before an original path. No policy can have this name. */
const NO_POLICY = "-";

const NO_STORE: readonly [string, string] = ["cache-control", "no-store"];

export interface AuthzOptions extends GatewayDeps {
  /** Whether the gateway that asks is known: by its listener, by its certificate, or because access is open. */
  readonly isKnownGateway: (exchange: HttpExchange) => boolean;
}

/** The parts of `/authz[/<policy>[/<original path>]]`; undefined for any other path. `policy` is empty without one. */
export function authzTarget(path: string): { readonly policy: string; readonly rest: string } | undefined {
  const [, policy = "", rest = ""] = /^\/authz(?:\/([^/]*)(\/.*)?)?$/s.exec(path) ?? [undefined];
  return path === "/authz" || path.startsWith("/authz/") ? { policy, rest } : undefined;
}

/** Serves `/authz` and `/authz/<policy>`. Reads neither the query nor the body. Never rejects. */
export async function serveAuthz(options: AuthzOptions, path: string, exchange: HttpExchange): Promise<void> {
  const { gate, callLog, present } = options;
  const call = new Call(exchange.address);
  const requestId = gate.enter(call, exchange.header("x-request-id") ?? null);
  try {
    if (!options.isKnownGateway(exchange)) throw unknownGateway();
    const answer = await decide(options, path, { exchange, call });
    logDecision(options, AUTHZ_METHOD, call, answer);
    if (answer.kind === "denied") refuse(exchange, answer.refusal);
    else respond(exchange, 200, allowedHeaders(answer, exchange), "");
  } catch (error) {
    const refusal = present(error, requestId);
    callLog.refused(AUTHZ_METHOD, call, refusal);
    refuse(exchange, refusalOfError(refusal));
  } finally {
    exchange.drop();
  }
}

function decide(
  { verifier, policies, trustedHops, usageMethods }: AuthzOptions,
  path: string,
  { exchange, call }: { readonly exchange: HttpExchange; readonly call: Call },
): GatewayAnswer | Promise<GatewayAnswer> {
  const { policy = "", rest = "" } = authzTarget(path) ?? {};
  const access = policy === "" || policy === NO_POLICY ? ANY_KEY : policies(policy);
  // Also an original path without a policy before it: its client could otherwise choose the policy.
  if (access === undefined || (policy === "" && rest !== "")) return unknownPolicy(policy);
  const header = (name: string) => exchange.header(name);
  const question = {
    credential: readCredential(credentialHeaders(exchange)),
    access,
    // The connection's peer is the gateway, so that the client's address is known by trusted hops only.
    clientIp:
      trustedHops === undefined
        ? ""
        : clientAddress(trustedHops, { forwardedFor: valuesOf(exchange, "x-forwarded-for"), peer: undefined }),
    method: usageMethods.of({
      method: header("x-forwarded-method") ?? header("x-original-method") ?? exchange.method,
      path: header("x-forwarded-uri") ?? header("x-original-uri") ?? header("x-original-url") ?? rest,
      isGrpc: isGrpcType(header("content-type")),
    }),
  };
  return decideForGateway(verifier, question, askerOf(call, "router"));
}

function allowedHeaders(
  answer: Exclude<GatewayAnswer, { kind: "denied" }>,
  exchange: HttpExchange,
): [string, string][] {
  const found = answer.kind === "allowed" ? answer.metered.found : undefined;
  const { retireTime } = readAbout(found?.about ?? "");
  const { authorization } = credentialHeaders(exchange);
  const removed = isLeftForHandler(authorization) ? API_KEY : `${AUTHORIZATION}, ${API_KEY}`;
  return [
    ...identityHeaders(found).map(([name, value]): [string, string] => [name, value]),
    ["x-envoy-auth-headers-to-remove", removed],
    ...(retireTime === undefined
      ? []
      : [[RETIRES_HEADER, timestampDate(retireTime).toISOString()] as [string, string]]),
  ];
}

function credentialHeaders(exchange: HttpExchange) {
  return { authorization: valuesOf(exchange, AUTHORIZATION), apiKey: valuesOf(exchange, API_KEY) };
}

/** A header that came several times is one value with commas. */
function valuesOf(exchange: HttpExchange, name: string): string[] {
  const value = exchange.header(name);
  return value === undefined ? [] : [value];
}

function refuse(exchange: HttpExchange, refusal: Refusal): void {
  const { status, headers, body } = refusalResponse(refusal);
  respond(exchange, status, Object.entries(headers), body);
}

/** Answers a gateway; no answer may be kept. */
export function respond(
  exchange: HttpExchange,
  status: number,
  headers: readonly (readonly [string, string])[],
  body: string,
): void {
  const bytes = Buffer.from(body);
  const isLast = exchange.method === "HEAD" || bytes.length === 0;
  exchange.respond(status, [...headers, NO_STORE, ["content-length", String(bytes.length)]], isLast);
  if (isLast) return;
  exchange.write(bytes);
  exchange.end();
}

/** A wrong set-up says nothing about the client's key: 503, as where the SDK's own token is refused. */
function unknownGateway(): ConnectError {
  const message =
    "this port answers /authz to known gateways only. Ask the port of CLAVIGER_AUTHZ_LISTEN, or set " +
    "CLAVIGER_VERIFY_ACCESS=open on a network that only gateways reach";
  return new ConnectError(message, Code.PermissionDenied);
}
