import { isIP } from "node:net";
import { Environment } from "#gen/claviger/v1/key_pb.js";
import type { VerifyRequest } from "#gen/claviger/v1/key_verifier_pb.js";

/**
 * Limits on the content of a question about a secret. They equal the rules of `claviger.v1.VerifyRequest`; a test
 * compares them.
 */
export const QUESTION_LIMITS = { secretBytes: 4096, scopes: 64, scopeBytes: 128, methodBytes: 256 };

const ENVIRONMENTS: ReadonlySet<number> = new Set(Object.values(Environment));
const METHOD = /^\/[!-.0-~]+\/[!-.0-~]+$/;

/** Fast check for an ASCII `/package.Service/Method`. A text that fails it may still be valid. */
export function isPlainMethod(text: string): boolean {
  return text.length <= QUESTION_LIMITS.methodBytes && METHOD.test(text);
}

const SCOPE = /^[a-z0-9_.-]+(:[a-z0-9_.-]+)*$/;

/** Whether a question may require this scope: a scope without a wildcard. */
export function isRequiredScope(text: unknown): boolean {
  return typeof text === "string" && text.length <= QUESTION_LIMITS.scopeBytes && SCOPE.test(text);
}

/** The right form of the scopes that a question requires, for errors. */
export const REQUIRED_SCOPES = `an array of at most ${QUESTION_LIMITS.scopes} scopes without wildcards, for example ["orders:read"]`;

/** Whether a question may require these scopes. */
export function areRequiredScopes(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.length <= QUESTION_LIMITS.scopes && value.every(isRequiredScope);
}

/** The fields of a `VerifyRequest`, without those that protobuf-es adds to a message. */
export type PlainRequest = Pick<VerifyRequest, "secret" | "requiredScopes" | "method" | "clientIp"> & {
  cost?: number | undefined;
  /** A number of `claviger.v1.Environment`. */
  environment?: number;
};

// Field numbers and wire types of `VerifyRequest`.
const TAG = { secret: 0x0a, scope: 0x12, method: 0x1a, clientIp: 0x22, cost: 0x28, environment: 0x30 };

/**
 * Decodes a plain `VerifyRequest` that begins at `from`: known fields, ASCII, lengths and a cost below 16,384. Returns
 * undefined for any other bytes, which protobuf-es reads. This takes 0.3 µs, protobuf-es 0.7.
 */
export function decodePlainly(bytes: Buffer, from: number): PlainRequest | undefined {
  const request: PlainRequest = { secret: "", requiredScopes: [], method: "", clientIp: "" };
  let at = from;
  while (at < bytes.length) {
    const tag = bytes[at++];
    let value = bytes[at++] ?? 0x80;
    if (value >= 0x80) {
      const more = bytes[at++] ?? 0x80;
      if (more >= 0x80 || more === 0) return undefined;
      value += (more - 1) * 0x80;
    }
    if (tag === TAG.cost || tag === TAG.environment) {
      request[tag === TAG.cost ? "cost" : "environment"] = value;
      continue;
    }
    const end = at + value;
    if (end > bytes.length) return undefined;
    const text = asciiOf(bytes, at, end);
    if (text === undefined) return undefined;
    if (tag === TAG.secret) request.secret = text;
    else if (tag === TAG.scope) request.requiredScopes.push(text);
    else if (tag === TAG.method) request.method = text;
    else if (tag === TAG.clientIp) request.clientIp = text;
    else return undefined;
    at = end;
  }
  return request;
}

function asciiOf(bytes: Buffer, from: number, to: number): string | undefined {
  for (let at = from; at < to; at++) if ((bytes[at] ?? 0) >= 0x80) return undefined;
  return bytes.toString("latin1", from, to);
}

/**
 * True only if the request meets the rules of its proto; false may be wrong. A request that is not plain goes to the
 * validator, which takes 5 µs. A test holds this to the validator.
 */
export function isPlainQuestion(request: PlainRequest): boolean {
  const { secret, requiredScopes, method, clientIp, cost, environment = Environment.UNSPECIFIED } = request;
  return (
    // A UTF-16 unit takes three bytes at most.
    secret.length <= QUESTION_LIMITS.secretBytes / 3 &&
    requiredScopes.length <= QUESTION_LIMITS.scopes &&
    requiredScopes.every(isRequiredScope) &&
    (method === "" || isPlainMethod(method)) &&
    (clientIp === "" || (isIP(clientIp) !== 0 && !clientIp.includes("%"))) &&
    (cost === undefined || cost >= 0) &&
    ENVIRONMENTS.has(environment)
  );
}
