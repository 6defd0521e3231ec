import { create, type JsonObject, type MessageInitShape } from "@bufbuild/protobuf";
import { timestampDate } from "@bufbuild/protobuf/wkt";
import { Code } from "@connectrpc/connect";
import {
  HeaderValueOption_HeaderAppendAction as AppendAction,
  type HeaderValueOptionSchema,
} from "#gen/envoy/config/core/v3/base_pb.js";
import { type CheckResponse, CheckResponseSchema } from "#gen/envoy/service/auth/v3/external_auth_pb.js";
import type { StatusCode } from "#gen/envoy/type/v3/http_status_pb.js";
import { readAbout } from "../rpc/codec/encode-verification.ts";
import type { Metered } from "../usage/metered-verifier.ts";
import { API_KEY, AUTHORIZATION, isLeftForHandler } from "../wire/credential.ts";
import { refusalResponse } from "../wire/refusal-response.ts";
import type { CheckFacts } from "./check-facts.ts";
import type { GatewayAnswer } from "./decide.ts";
import { identityHeaders, RETIRES_HEADER } from "./identity-headers.ts";
import { isGrpcType } from "./usage-methods.ts";

/** Without it Envoy derives a gRPC status from 429: `UNAVAILABLE`, which clients retry. */
const GRPC_RESOURCE_EXHAUSTED: readonly [string, string] = ["grpc-status", String(Code.ResourceExhausted)];

export function checkAnswer(
  answer: GatewayAnswer,
  facts: Pick<CheckFacts, "authorization" | "contentType">,
): CheckResponse {
  return answer.kind === "denied" ? denied(answer, facts) : allowed(answer, facts);
}

function allowed(
  answer: Exclude<GatewayAnswer, { kind: "denied" }>,
  { authorization }: Pick<CheckFacts, "authorization">,
): CheckResponse {
  const metered = answer.kind === "allowed" ? answer.metered : undefined;
  const about = readAbout(metered?.found?.about ?? "");
  const retires = about.retireTime && timestampDate(about.retireTime).toISOString();
  return create(CheckResponseSchema, {
    status: {},
    httpResponse: {
      case: "okResponse",
      value: {
        headers: identityHeaders(metered?.found).map(overwriting),
        headersToRemove: isLeftForHandler(authorization) ? [API_KEY] : [AUTHORIZATION, API_KEY],
        responseHeadersToAdd: retires === undefined ? [] : [overwriting([RETIRES_HEADER, retires])],
      },
    },
    ...(metered?.found && { dynamicMetadata: metadataOf(metered, metered.found, about.key?.labels ?? {}) }),
  });
}

function metadataOf(
  { freshness, revision }: Metered,
  { keyId, owner, scopes, environment }: NonNullable<Metered["found"]>,
  labels: Readonly<Record<string, string>>,
): JsonObject {
  const facts = { key_id: keyId, owner: owner.toWellFormed(), scopes: [...scopes], labels: { ...labels } };
  return { ...facts, environment, revision, freshness };
}

function denied(
  { refusal }: Extract<GatewayAnswer, { kind: "denied" }>,
  { contentType }: Pick<CheckFacts, "contentType">,
): CheckResponse {
  const { status, headers, body } = refusalResponse(refusal);
  const isGrpc = isGrpcType(contentType);
  const all = [...Object.entries(headers), ...(isGrpc && status === 429 ? [GRPC_RESOURCE_EXHAUSTED] : [])];
  // Envoy (1.40) makes the body the grpc-message.
  const text = isGrpc ? refusal.message : body;
  return create(CheckResponseSchema, {
    status: { code: refusal.code },
    httpResponse: {
      case: "deniedResponse",
      value: { status: { code: status as StatusCode }, headers: all.map(overwriting), body: text },
    },
  });
}

function overwriting([key, value]: readonly [string, string]): MessageInitShape<typeof HeaderValueOptionSchema> {
  return { header: { key, value }, appendAction: AppendAction.OVERWRITE_IF_EXISTS_OR_ADD };
}
