import { Code } from "@connectrpc/connect";
import { Verdict } from "#gen/claviger/v1/key_verifier_pb.js";
import { clientIpOf } from "../../system/addresses.ts";
import type { MethodAccess } from "../../wire/access.ts";
import type { Credential } from "../../wire/credential.ts";
import { QUESTION_LIMITS } from "../../wire/question.ts";
import {
  CREDENTIAL_MISSING,
  CREDENTIAL_TOO_LONG,
  CREDENTIALS_CONFLICT,
  internalError,
  type Refusal,
  refusalOf,
  refusalOfError,
} from "../../wire/refusal.ts";
import type { Question, Verification, Verifier } from "../verification.ts";
import { askFunction, BOOLEAN, SCOPES, TEXT } from "../verifier/check-options.ts";
import { createDefectWarning, createListener } from "../verifier/listener.ts";
import type { KeyOptions } from "./key-options.ts";
import { isPrincipal, type Principal } from "./principal.ts";

/** A call that arrives at a guard. */
export interface Arrival<Call> {
  readonly call: Call;
  /** An object that all guards of this call share with no other call: each guard leaves its result there for the next. */
  readonly carrier: object;
  /** Removes the key from the headers. Not called if an earlier guard has removed it. */
  readonly takeCredential: () => Credential;
  /** `/package.Service/Method`, if it has one. */
  readonly method: () => string | undefined;
  /** The address at the other end of the connection. */
  readonly peer: string | undefined;
  /** The requirements of the method, where the options do not state them. */
  readonly access: () => MethodAccess;
}

export function questionOf<Call>(options: KeyOptions<Call>, arrival: Arrival<Call>): Question {
  const { call, peer } = arrival;
  const method = arrival.method();
  const ask = options.clientIp;
  const clientIp = clientIpOf(ask === undefined ? peer : askFunction("clientIp", { ask, call, rule: TEXT }));
  return {
    scopes: accessOfCall(options, arrival).scopes,
    environment: options.environment ?? "live",
    ...(method !== undefined && { method }),
    ...(clientIp !== undefined && { clientIp }),
  };
}

/**
 * The requirements of the call: those of the options, and where they state none, those of the method.
 *
 * @throws TypeError if a function of the options returns a wrong value, which must not count as "no requirement"
 */
export function accessOfCall<Call>(options: KeyOptions<Call>, { call, access }: Arrival<Call>): MethodAccess {
  const anonymous = askFunction("anonymous", { ask: options.anonymous, call, rule: BOOLEAN });
  // A call that needs no key is also let in with any good key.
  if (anonymous === true) return { scopes: [], anonymous };
  const scopes = askFunction("scopes", { ask: options.scopes, call, rule: SCOPES });
  if (scopes !== undefined && anonymous !== undefined) return { scopes, anonymous };
  const declared = access();
  return { scopes: scopes ?? declared.scopes, anonymous: anonymous ?? declared.anonymous };
}

/** The result of one verification of a key. */
export type Look = { readonly principal: Principal } | { readonly refusal: Refusal };

/** Verifies the same key again for the same method, and charges nothing. */
export type Recheck = () => Look | Promise<Look>;

/** The decision about a call: let in with its key, let in without one, or refused. */
export type Admission =
  | { readonly principal: Principal; readonly recheck: Recheck }
  | { readonly principal: undefined }
  | { readonly refusal: Refusal };

export type Guard<Call> = (arrival: Arrival<Call>) => Admission | Promise<Admission>;

/**
 * Decides about calls. Returns no promise where the verifier answers from memory. Never throws and never rejects: every
 * failure is a refusal, and `onUndecided` gets its cause.
 */
export function createGuard<Call>(verifier: Verifier, options: KeyOptions<Call>): Guard<Call> {
  const onUndecided = options.onUndecided && createListener("onUndecided", options.onUndecided);
  const warnOfDefect = createDefectWarning();
  function refuse(refusal: Refusal): { readonly refusal: Refusal } {
    const { cause, code } = refusal;
    if (cause === undefined) return { refusal };
    if (onUndecided !== undefined) onUndecided(cause);
    // The verifier warns of an outage. A defect of the service has no other warning, and only callers would notice it.
    else if (code === Code.Internal) warnOfDefect(cause);
    return { refusal };
  }

  function judge(verification: Verification): Look {
    const refusal = refusalOf(verification);
    if (refusal !== undefined) return refuse(refusal);
    if (isPrincipal(verification)) return { principal: verification };
    return refuse(internalError(new Error("the verifier returned VALID without a key. Update claviger")));
  }

  function look(secret: string, question: Question, judged: typeof judge = judge): Look | Promise<Look> {
    try {
      const answer = verifier.verifySync(secret, question);
      if (answer !== "ask") return judged(answer);
      return verifier.verify(secret, question).then(judged, (error: unknown) => refuse(refusalOfError(error)));
    } catch (error) {
      return refuse(refusalOfError(error));
    }
  }

  function admit(arrival: Arrival<Call>): Admission | Promise<Admission> {
    const passed = passedGuards(arrival.carrier);
    const credential = passed?.credential ?? arrival.takeCredential();
    if (credential.kind === "conflict") return refuse(CREDENTIALS_CONFLICT);
    if (credential.kind === "none") {
      return accessOfCall(options, arrival).anonymous ? { principal: undefined } : refuse(CREDENTIAL_MISSING);
    }
    const { secret } = credential;
    // Longer than any secret: the verifier would reject the question as wrong.
    if (Buffer.byteLength(secret.reveal()) > QUESTION_LIMITS.secretBytes) return refuse(CREDENTIAL_TOO_LONG);
    const question = questionOf(options, arrival);
    const free = { ...question, cost: 0 };
    const enter = (seen: Look): Admission => {
      if ("refusal" in seen) return seen;
      const guards = passed ?? { credential, admitted: new Map() };
      guards.admitted.set(verifier, seen.principal);
      rememberPassed(arrival.carrier, guards);
      return { ...seen, recheck: () => look(secret.reveal(), free) };
    };
    const charged = passed?.admitted.get(verifier);
    const seen =
      charged === undefined
        ? look(secret.reveal(), question)
        : look(secret.reveal(), free, (answer) => (isAtLimit(answer) ? { principal: charged } : judge(answer)));
    return seen instanceof Promise ? seen.then(enter) : enter(seen);
  }

  return (arrival) => {
    try {
      return admit(arrival);
    } catch (error) {
      return refuse(internalError(error));
    }
  };
}

/**
 * Whether the only objection is a limit of the key, since limits are checked last. The call itself may have used up the
 * limit at an earlier guard.
 */
function isAtLimit({ verdict }: Verification): boolean {
  return verdict === Verdict.RATE_LIMITED || verdict === Verdict.QUOTA_EXHAUSTED;
}

/** The results of earlier `requireKey`s of one call. The first of them removes the key from the headers. */
interface PassedGuards {
  readonly credential: Credential & { readonly kind: "secret" };
  /** The last answer of each verifier that let the call in. Each has charged the call once. */
  readonly admitted: Map<Verifier, Principal>;
}

const PASSED: unique symbol = Symbol("claviger passed guards");

interface Carrier {
  [PASSED]?: PassedGuards;
}

/** @param carrier an object that all `requireKey`s of one call share with no other call, such as Node's request */
function passedGuards(carrier: object): PassedGuards | undefined {
  return (carrier as Carrier)[PASSED];
}

/** Stores the key of a call under a property that is not enumerable, so that logs of the request do not show it. */
function rememberPassed(carrier: object, passed: PassedGuards): void {
  Object.defineProperty(carrier, PASSED, { value: passed, configurable: true });
}
