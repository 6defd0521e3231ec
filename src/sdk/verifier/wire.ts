import { create } from "@bufbuild/protobuf";
import { durationMs, type Timestamp, timestampDate } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import { Environment } from "#gen/claviger/v1/key_pb.js";
import {
  Freshness,
  type Refusal,
  Verdict,
  type VerifyRequest,
  VerifyRequestSchema,
  type VerifyResponse,
  VerifyResponseSchema,
} from "#gen/claviger/v1/key_verifier_pb.js";
import { LONGEST_TIMER_MS } from "../../system/clocks.ts";
import { explainedError, RETRY_DELAY_MS } from "../../wire/errors.ts";
import { QUESTION_LIMITS } from "../../wire/question.ts";
import type { Question, Verification } from "../verification.ts";
import { ENVIRONMENT, findWrong, METHOD, type Rules, SCOPES } from "./check-options.ts";
import { TROUBLE_CODE, type Trouble } from "./trouble.ts";

const ENVIRONMENTS = { live: Environment.LIVE, test: Environment.TEST, any: Environment.UNSPECIFIED };

/** Limit on the characters of an address, with a zone. */
const MAX_ADDRESS_LENGTH = 64;

const RULES: Rules<Question> = {
  scopes: SCOPES,
  method: { right: METHOD.right, holds: (value) => value === "" || METHOD.holds(value) },
  clientIp: {
    right: "an IPv4 or IPv6 address as a string",
    holds: (value) => typeof value === "string" && value.length <= MAX_ADDRESS_LENGTH,
  },
  environment: ENVIRONMENT,
  cost: { right: "a whole number from 0 to 2147483647", holds: (value) => isInt32(value) && Number(value) >= 0 },
};

/**
 * Creates the request for a question. The server checks its other rules.
 *
 * @throws ConnectError `INVALID_ARGUMENT` for a wrong question: a misspelt `scopes` would require nothing, and a question
 * that is too large would break its stream
 */
export function toRequest(secret: string, question: Question): VerifyRequest {
  const isText = typeof secret === "string";
  if (
    !isText ||
    secret.length > QUESTION_LIMITS.secretBytes ||
    Buffer.byteLength(secret) > QUESTION_LIMITS.secretBytes
  ) {
    throw invalid("secret", `the secret must be a string of at most ${QUESTION_LIMITS.secretBytes} bytes`);
  }
  const wrong = findWrong(question, RULES);
  if (wrong !== undefined) throw invalid(wrong.name, wrong.message);
  const { scopes = [], method = "", clientIp = "", environment = "any", cost } = question;
  const sent = { secret, requiredScopes: [...scopes], method, clientIp, environment: ENVIRONMENTS[environment] };
  return create(VerifyRequestSchema, cost === undefined ? sent : { ...sent, cost });
}

/** @throws ConnectError `INTERNAL` for an answer that makes no sense */
export function fromResponse(response: VerifyResponse): Verification {
  const { verdict, key, secretExpireTime, retireTime, missingScopes, retryAfter, freshness, revision } = response;
  if (verdict === Verdict.VALID && key === undefined) throw unreadable("a VALID answer has no key");
  return {
    verdict,
    key,
    missingScopes,
    freshness,
    revision: Number(revision),
    secretExpireTime: secretExpireTime && toDate(secretExpireTime),
    retireTime: retireTime && toDate(retireTime),
    retryAfterMs: retryAfter && Math.min(LONGEST_TIMER_MS, Math.max(0, durationMs(retryAfter))),
  };
}

/** Rejects a time beyond JavaScript's dates, because printing it would throw. */
function toDate(timestamp: Timestamp): Date {
  const date = timestampDate(timestamp);
  if (Number.isNaN(date.getTime())) throw unreadable("a time is after the year 275760");
  return date;
}

/** The verdict on a text without the form of a secret. It needs no server: every server gives the same. */
export function malformed(): Verification {
  return fromResponse(create(VerifyResponseSchema, { verdict: Verdict.MALFORMED, freshness: Freshness.AUTHORITATIVE }));
}

/** The server has answered, but the answer cannot be used. */
export function unreadable(why: string, cause?: unknown): ConnectError {
  const message = `the answer of the server cannot be read: ${why}. Update claviger on the server or here`;
  return new ConnectError(message, Code.Internal, undefined, undefined, cause);
}

/** The error that an answer contains. */
export function fromRefusal({ code, message, details }: Refusal): ConnectError {
  const error = new ConnectError(message, code in Code ? code : Code.Unknown);
  error.details = details.map(({ typeUrl, value }) => ({ type: typeUrl.slice(typeUrl.lastIndexOf("/") + 1), value }));
  return error;
}

/** The error of a verifier that could not decide, which says nothing about the secret. */
export function couldNotDecide(reason: string, message: string, cause?: unknown): ConnectError {
  return explainedError({ code: Code.Unavailable, reason, message, retryAfterMs: RETRY_DELAY_MS, cause });
}

/** No server answered, or none accepts this verifier. The error has a retry delay only if the cause may pass. */
export function unasked({ code, message, isPermanent }: Trouble, cause: unknown): ConnectError {
  const metadata = { [TROUBLE_CODE]: code };
  return isPermanent
    ? explainedError({ code: Code.Unavailable, reason: "VERIFIER_MISCONFIGURED", message, metadata, cause })
    : explainedError({
        code: Code.Unavailable,
        reason: "SERVER_UNREACHABLE",
        message,
        metadata,
        retryAfterMs: RETRY_DELAY_MS,
        cause,
      });
}

function invalid(field: string, rule: string): ConnectError {
  const message = `invalid question: ${rule}`;
  return explainedError({ code: Code.InvalidArgument, reason: "INVALID_FIELD", message, metadata: { fields: field } });
}

function isInt32(value: unknown): boolean {
  return Number.isInteger(value) && (Number(value) | 0) === value;
}
