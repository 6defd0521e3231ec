import { timestampMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import { Call } from "../rpc/call.ts";
import { readAbout } from "../rpc/codec/encode-verification.ts";
import { askerOf } from "../rpc/key-verifier.ts";
import type { HttpExchange } from "../transport/http/exchange.ts";
import { ANY_KEY } from "../wire/access.ts";
import { readCredential } from "../wire/credential.ts";
import { refusalOfError } from "../wire/refusal.ts";
import { refusalResponse } from "../wire/refusal-response.ts";
import { respond } from "./authz.ts";
import { decideForGateway, type GatewayAnswer } from "./decide.ts";
import { type GatewayDeps, logDecision } from "./gateway-deps.ts";
import { readForm } from "./read-form.ts";

/** The name of these calls in permissions, logs and metrics. */
export const INTROSPECT_METHOD = "claviger.http/Introspect";

const JSON_TYPE: readonly [string, string] = ["content-type", "application/json"];
const CHALLENGE: readonly [string, string] = ["www-authenticate", 'Basic realm="claviger", Bearer'];

/** Serves `POST /introspect` (RFC 7662). Counts and charges as `Verify` does. Never rejects. */
export async function serveIntrospect(deps: GatewayDeps, exchange: HttpExchange): Promise<void> {
  const { gate, callLog, present } = deps;
  const call = new Call(exchange.address);
  const requestId = gate.enter(call, exchange.header("x-request-id") ?? null);
  try {
    if (exchange.method !== "POST") {
      callLog.refused(INTROSPECT_METHOD, call, new ConnectError("not POST", Code.Unimplemented));
      respond(exchange, 405, [["allow", "POST"], JSON_TYPE], errorBody("invalid_request", "Use POST"));
      return;
    }
    const admission = gate.admit({ method: INTROSPECT_METHOD, call, authorization: bearerOf(exchange) });
    if (admission !== undefined) await admission;
    const token = await tokenOf(exchange);
    if (token === undefined) {
      callLog.refused(INTROSPECT_METHOD, call, new ConnectError("not a form with one token", Code.InvalidArgument));
      const description = "Send one form field token as application/x-www-form-urlencoded, at most 16 KiB";
      respond(exchange, 400, [JSON_TYPE], errorBody("invalid_request", description));
      return;
    }
    const credential = readCredential({ authorization: [], apiKey: [token] });
    const question = { credential, access: ANY_KEY, clientIp: "", method: "/http/INTROSPECT" };
    const answer = await decideForGateway(deps.verifier, question, askerOf(call, "router"));
    logDecision(deps, INTROSPECT_METHOD, call, answer);
    respond(exchange, 200, [JSON_TYPE], JSON.stringify(stateOf(answer)));
  } catch (error) {
    const refusal = present(error, requestId);
    callLog.refused(INTROSPECT_METHOD, call, refusal);
    refuseCaller(exchange, refusal);
  } finally {
    exchange.drop();
  }
}

function stateOf(answer: GatewayAnswer): object {
  const found = answer.kind === "allowed" ? answer.metered.found : undefined;
  if (found === undefined) return { active: false };
  const { secretExpireTime } = readAbout(found.about);
  return {
    ...{ active: true, scope: found.scopes.join(" "), client_id: found.keyId, sub: found.owner },
    ...(secretExpireTime && { exp: Math.floor(timestampMs(secretExpireTime) / 1000) }),
    token_type: "Bearer",
  };
}

function refuseCaller(exchange: HttpExchange, error: ConnectError): void {
  if (error.code === Code.Unauthenticated) {
    respond(exchange, 401, [JSON_TYPE, CHALLENGE], errorBody("invalid_client", error.rawMessage));
  } else if (error.code === Code.PermissionDenied) {
    respond(exchange, 403, [JSON_TYPE], errorBody("unauthorized_client", error.rawMessage));
  } else {
    const { status, headers, body } = refusalResponse(refusalOfError(error));
    respond(exchange, status, Object.entries(headers), body);
  }
}

function errorBody(error: string, description: string): string {
  return JSON.stringify({ error, error_description: description });
}

/** The caller's own key as Bearer: the password of Basic, whose user name is free (RFC 6749, 2.3.1). */
function bearerOf(exchange: HttpExchange): string | null {
  const authorization = exchange.header("authorization") ?? null;
  const [, basic] = /^basic +([a-z0-9+/_=-]+) *$/i.exec(authorization ?? "") ?? [];
  if (basic === undefined) return authorization;
  const text = Buffer.from(basic, "base64").toString("utf8");
  return `Bearer ${text.slice(text.indexOf(":") + 1)}`;
}

async function tokenOf(exchange: HttpExchange): Promise<string | undefined> {
  if (!/^application\/x-www-form-urlencoded *(;|$)/i.test(exchange.header("content-type") ?? "")) return undefined;
  const tokens = new URLSearchParams(await readForm(exchange)).getAll("token");
  const [token] = tokens;
  return tokens.length === 1 && token !== "" && !token?.includes(",") ? token : undefined;
}
