import { isIP } from "node:net";
import { durationMs } from "@bufbuild/protobuf/wkt";
import { Environment } from "#gen/claviger/v1/key_pb.js";
import { type Answer, Freshness, type VerifyRequest } from "#gen/claviger/v1/key_verifier_pb.js";
import { type CachedSecret, LONGEST_MS, type ReadStart } from "../../keys/cached-secret.ts";
import { countedHere } from "../../system/clocks.ts";
import type { UsageRecorder } from "../../usage/recorder.ts";
import { decide } from "../../verify/decide.ts";
import type { Interner } from "../../verify/interner.ts";
import { isPlainMethod, isRequiredScope, QUESTION_LIMITS } from "../../wire/question.ts";
import { VERDICTS, verdictName } from "../../wire/verdicts.ts";
import type { Question, Verification } from "../verification.ts";
import { ENVIRONMENT } from "./check-options.ts";

/** The part of an answer that is the same for every question, and the proof for the server that it was given. */
export type PreparedAnswer = Pick<Verification, "key" | "secretExpireTime" | "retireTime"> & {
  /** Each byte as the character of that code: an array would keep the whole message alive that it came in. */
  readonly usageProof: string;
};

/** The forms of secrets and key ids. A server accepts no report about a key id of another form. */
export interface Forms {
  isSecret(text: string): boolean;
  isKeyId(text: string): boolean;
}

/** The question of an entry, the answer that it came with, and when the question was sent. */
export interface Asked {
  readonly request: VerifyRequest;
  readonly verification: Verification;
  readonly start: ReadStart;
}

export interface EntryRules {
  readonly forms: Forms;
  /** ε: by how much the rates of two clocks may differ. */
  readonly clockRateError: number;
  readonly lists: Interner;
}

const QUESTION_NAMES: ReadonlySet<string> = new Set(["scopes", "method", "clientIp", "environment", "cost"]);
const NO_SCOPES: readonly string[] = Object.freeze([]);

/** Reads the entry of an answer; undefined if it must not be kept, as when it contradicts the answer's own verdict. */
export function readEntry(
  entry: NonNullable<Answer["entry"]>,
  { request, verification, start }: Asked,
  { forms, clockRateError, lists }: EntryRules,
): CachedSecret<PreparedAnswer> | undefined {
  const { key, secretExpireTime, retireTime, revision, verdict } = verification;
  const standing = verdictName(entry.standing);
  if (key === undefined || standing === undefined || entry.freshFor === undefined) return undefined;
  const lastsMs = countedHere(durationMs(entry.freshFor), clockRateError);
  if (!(lastsMs > 0) || !forms.isKeyId(key.id) || key.secretVersion < 1) return undefined;
  const usageProof = Buffer.from(entry.usageProof).toString("latin1");
  const ready: CachedSecret<PreparedAnswer> = {
    sinceMonotonicMs: start.sinceMonotonicMs,
    sinceWallMs: start.sinceWallMs,
    lastsMs: Math.min(LONGEST_MS, lastsMs),
    standing,
    environment: environmentName(key.environment) ?? "live",
    scopes: lists.share(key.scopes),
    allowedCidrs: lists.share(entry.allowedCidrs),
    counted: undefined,
    about: { key, secretExpireTime, retireTime, usageProof },
    revision,
    keyId: key.id,
    owner: key.owner,
    version: key.secretVersion,
    limits: null,
  };
  return verdictOn(ready, request) === verdict ? ready : undefined;
}

/**
 * Tells whether memory can answer a question and count it. `toRequest` and the server reject every other question. A name
 * that no question has may be a misspelt `scopes`. Remembers the last method and scopes that passed, since a service asks
 * the same again and again.
 */
export class PlainQuestions {
  #method = "";
  #scopes = NO_SCOPES;

  isPlain(question: Question, { allowedCidrs }: Pick<CachedSecret, "allowedCidrs">): boolean {
    for (const name in question) {
      if (!QUESTION_NAMES.has(name)) return false;
    }
    const { scopes, method, clientIp, cost, environment } = question;
    return (
      (environment === undefined || ENVIRONMENT.holds(environment)) &&
      (scopes === undefined || this.#arePlain(scopes)) &&
      (method === undefined || method === "" || this.#isPlainMethod(method)) &&
      (cost === undefined || (Number.isInteger(cost) && cost >= 0)) &&
      (allowedCidrs.length === 0 || clientIp === undefined || clientIp === "" || isIP(clientIp) !== 0)
    );
  }

  #arePlain(scopes: readonly string[]): boolean {
    if (!Array.isArray(scopes) || scopes.length > QUESTION_LIMITS.scopes) return false;
    // A copy is compared, because a caller may change its list between two questions.
    if (scopes.length === this.#scopes.length && this.#scopes.every((scope, at) => scope === scopes[at])) return true;
    const copy = [...scopes];
    if (!copy.every(isRequiredScope)) return false;
    this.#scopes = copy;
    return true;
  }

  #isPlainMethod(method: string): boolean {
    if (method === this.#method) return true;
    if (!isPlainMethod(method)) return false;
    this.#method = method;
    return true;
  }
}

export interface Answering {
  readonly recorder: Pick<UsageRecorder, "record">;
  /** The time of the question. */
  readonly wallMs: number;
  /** The link's: every change up to here has reached the cache. */
  readonly appliedRevision: number;
}

/** Answers a plain question from memory, and counts it. */
export function answerFrom(
  known: CachedSecret<PreparedAnswer>,
  question: Question,
  { recorder, wallMs, appliedRevision }: Answering,
): Verification {
  const { scopes = NO_SCOPES, clientIp = "", method = "", cost = 1, environment = "any" } = question;
  const asked = environment === "any" ? undefined : environment;
  const { verdict, missingScopes } = decide(known, { requiredScopes: scopes, clientIp, environment: asked });
  const { keyId, version, about } = known;
  const charged = verdict === "valid" ? cost : 0;
  const use = { keyId, callerId: "", version, verdict, method, cost: charged, proof: about.usageProof };
  recorder.record(use, known, wallMs);
  return {
    verdict: VERDICTS[verdict],
    key: about.key,
    secretExpireTime: about.secretExpireTime,
    retireTime: about.retireTime,
    missingScopes,
    retryAfterMs: undefined,
    freshness: Freshness.LEASED,
    revision: Math.max(known.revision, appliedRevision),
  };
}

/** The verdict that memory would give on the request. */
function verdictOn(ready: CachedSecret<PreparedAnswer>, request: VerifyRequest): Verification["verdict"] {
  const { requiredScopes, clientIp } = request;
  return VERDICTS[
    decide(ready, { requiredScopes, clientIp, environment: environmentName(request.environment) }).verdict
  ];
}

function environmentName(environment: Environment): "live" | "test" | undefined {
  if (environment === Environment.TEST) return "test";
  return environment === Environment.LIVE ? "live" : undefined;
}
