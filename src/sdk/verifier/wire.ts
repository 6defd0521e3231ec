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
import { explainedError, RETRY_DELAY_MS } from "../../wire/errors.ts";
import { QUESTION_LIMITS as MOST } from "../../wire/question-limits.ts";
import type { Question, Verification } from "../verification.ts";
import { ENVIRONMENT, findWrong, LONGEST_TIMER_MS, METHOD, type Rules, SCOPES } from "./check-options.ts";
import { TROUBLE_CODE, type Trouble } from "./trouble.ts";

const ENVIRONMENTS = { live: Environment.LIVE, test: Environment.TEST, any: Environment.UNSPECIFIED };

/** Characters of the longest address, with a zone. */
const LONGEST_ADDRESS = 64;

const RULES: Rules<Question> = {
  scopes: SCOPES,
  method: { right: METHOD.right, holds: (value) => value === "" || METHOD.holds(value) },
  clientIp: {
    right: "an IPv4 or IPv6 address as a text",
    holds: (value) => typeof value === "string" && value.length <= LONGEST_ADDRESS,
  },
  environment: ENVIRONMENT,
  cost: { right: "a whole number from 0 to 2147483647", holds: (value) => isInt32(value) && Number(value) >= 0 },
};

/**
 * Makes the message for a question. The server checks the rest of its rules.
 *
 * @throws ConnectError `INVALID_ARGUMENT` for a question that is wrong: a misspelt `scopes` would ask for nothing, and a
 * question that is too large would break the stream that it is sent on
 */
export function toRequest(secret: string, question: Question): VerifyRequest {
  const isText = typeof secret === "string";
  if (!isText || secret.length > MOST.secretBytes || Buffer.byteLength(secret) > MOST.secretBytes) {
    throw invalid("secret", `the secret must be a text of at most ${MOST.secretBytes} bytes`);
  }
  const wrong = findWrong(question, RULES);
  if (wrong !== undefined) throw invalid(wrong.name, wrong.message);
  const { scopes = [], method = "", clientIp = "", environment = "any", cost } = question;
  const sent = { secret, requiredScopes: [...scopes], method, clientIp, environment: ENVIRONMENTS[environment] };
  return create(VerifyRequestSchema, cost === undefined ? sent : { ...sent, cost });
}

/** @throws ConnectError `INTERNAL` for an answer that cannot be understood */
export function fromResponse(response: VerifyResponse): Verification {
  const { verdict, key, secretExpireTime, retireTime, missingScopes, retryAfter, freshness, revision } = response;
  if (verdict === Verdict.VALID && key === undefined) throw unreadable("a key is VALID and not named");
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

/** A time beyond JavaScript's dates would throw wherever it is printed. */
function toDate(timestamp: Timestamp): Date {
  const date = timestampDate(timestamp);
  if (Number.isNaN(date.getTime())) throw unreadable("a time lies beyond the year 275760");
  return date;
}

/** The verdict on a text that has not the form of a secret. It needs no server; one would say the same. */
export function malformed(): Verification {
  return fromResponse(create(VerifyResponseSchema, { verdict: Verdict.MALFORMED, freshness: Freshness.AUTHORITATIVE }));
}

/** The server has answered, and what it said means nothing here. */
export function unreadable(why: string, cause?: unknown): ConnectError {
  const message = `the answer of the server cannot be read: ${why}. Update claviger, there or here`;
  return new ConnectError(message, Code.Internal, undefined, undefined, cause);
}

/** An error that was sent as part of an answer. */
export function fromRefusal({ code, message, details }: Refusal): ConnectError {
  const error = new ConnectError(message, code in Code ? code : Code.Unknown);
  error.details = details.map(({ typeUrl, value }) => ({ type: typeUrl.slice(typeUrl.lastIndexOf("/") + 1), value }));
  return error;
}

/** The verifier could not decide, which says nothing about the secret. */
export function couldNotDecide(reason: string, message: string, cause?: unknown): ConnectError {
  return explainedError({ code: Code.Unavailable, reason, message, retryAfterMs: RETRY_DELAY_MS, cause });
}

/** No server answered, or none accepts this verifier. Only a cause that may pass says when to retry. */
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
