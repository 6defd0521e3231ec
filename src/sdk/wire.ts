import { create } from "@bufbuild/protobuf";
import { durationMs, timestampDate } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import {
  type Refusal,
  type VerifyRequest,
  VerifyRequestSchema,
  type VerifyResponse,
} from "#gen/claviger/v1/key_verifier_pb.js";
import { ErrorInfoSchema, RetryInfoSchema } from "#gen/google/rpc/error_details_pb.js";
import { QUESTION_LIMITS as MOST } from "../keys/question-limits.ts";
import type { Question, Verification } from "./verification.ts";

/**
 * The question as it is sent. Throws `INVALID_ARGUMENT` for one that is too large, which would break the stream that it
 * is sent on; the server looks at the rest.
 */
export function toRequest(secret: string, question: Question): VerifyRequest {
  const { scopes = [], method = "", clientIp = "", cost } = question;
  const isTooLong = (text: string, bytes: number) => text.length > bytes || Buffer.byteLength(text) > bytes;
  if (isTooLong(secret, MOST.secretBytes)) throw invalid("secret", `takes at most ${MOST.secretBytes} bytes`);
  if (scopes.length > MOST.scopes) throw invalid("scopes", `are at most ${MOST.scopes}`);
  if (scopes.some((scope) => isTooLong(scope, MOST.scopeBytes))) {
    throw invalid("scopes", `take at most ${MOST.scopeBytes} bytes each`);
  }
  if (isTooLong(method, MOST.methodBytes)) throw invalid("method", `takes at most ${MOST.methodBytes} bytes`);
  if (isTooLong(clientIp, 64)) throw invalid("clientIp", "must be an IPv4 or IPv6 address");
  const sent = { secret, requiredScopes: [...scopes], method, clientIp };
  return create(VerifyRequestSchema, cost === undefined ? sent : { ...sent, cost });
}

export function fromResponse(response: VerifyResponse): Verification {
  const { verdict, key, secretExpireTime, retireTime, missingScopes, retryAfter, freshness, revision } = response;
  return {
    ...{ verdict, key, missingScopes, freshness, revision: Number(revision) },
    secretExpireTime: secretExpireTime && timestampDate(secretExpireTime),
    retireTime: retireTime && timestampDate(retireTime),
    retryAfterMs: retryAfter && durationMs(retryAfter),
  };
}

/** An error that was sent as part of an answer. */
export function fromRefusal({ code, message, details }: Refusal): ConnectError {
  const error = new ConnectError(message, code in Code ? code : Code.Unknown);
  error.details = details.map(({ typeUrl, value }) => ({ type: typeUrl.slice(typeUrl.lastIndexOf("/") + 1), value }));
  return error;
}

/** It could not be decided, which says nothing about the secret. */
export function undecided(reason: string, message: string, cause?: unknown): ConnectError {
  const error = new ConnectError(message, Code.Unavailable, undefined, undefined, cause);
  error.details.push({ desc: ErrorInfoSchema, value: { domain: "claviger", reason } });
  error.details.push({ desc: RetryInfoSchema, value: { retryDelay: { seconds: 1n } } });
  return error;
}

function invalid(field: string, rule: string): ConnectError {
  const error = new ConnectError(`invalid question: ${field} ${rule}. Correct it and ask again`, Code.InvalidArgument);
  error.details.push({
    desc: ErrorInfoSchema,
    value: { domain: "claviger", reason: "INVALID_FIELD", metadata: { fields: field } },
  });
  return error;
}
