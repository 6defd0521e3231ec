import { Code } from "@connectrpc/connect";
import { Verdict } from "#gen/claviger/v1/key_verifier_pb.js";
import { QUESTION_LIMITS } from "../../wire/question-limits.ts";
import type { Question, Verification, Verifier } from "../verification.ts";
import { createDefectWarning, createListener } from "../verifier/listener.ts";
import { type Arrival, accessOfCall, questionOf } from "./arrival.ts";
import type { Credential } from "./credential.ts";
import type { KeyOptions } from "./key-options.ts";
import { isPrincipal, type Principal } from "./principal.ts";
import {
  CREDENTIAL_MISSING,
  CREDENTIAL_TOO_LONG,
  CREDENTIALS_CONFLICT,
  internalError,
  type Refusal,
  refusalOf,
  refusalOfError,
} from "./refusal.ts";

/** What became of a look at a key. */
export type Look = { readonly principal: Principal } | { readonly refusal: Refusal };

/** Looks at the same key again, for the same method, and charges nothing. */
export type Recheck = () => Look | Promise<Look>;

/** What became of a call: let in with its key, let in without one, or refused. */
export type Admission =
  | { readonly principal: Principal; readonly recheck: Recheck }
  | { readonly principal: undefined }
  | { readonly refusal: Refusal };

export type Guard<Call> = (arrival: Arrival<Call>) => Admission | Promise<Admission>;

/**
 * Decides about calls. Where the verifier answers from memory, so does this, without a promise. Never throws and never
 * rejects: what went wrong is a refusal, and `onUndecided` is told.
 */
export function createGuard<Call>(verifier: Verifier, options: KeyOptions<Call>): Guard<Call> {
  const onUndecided = options.onUndecided && createListener("onUndecided", options.onUndecided);
  const warnOfDefect = createDefectWarning();
  function refuse(refusal: Refusal): { readonly refusal: Refusal } {
    const { cause, code } = refusal;
    if (cause === undefined) return { refusal };
    if (onUndecided !== undefined) onUndecided(cause);
    // An outage is told by the verifier; a defect is the service's own, and only its callers would notice.
    else if (code === Code.Internal) warnOfDefect(cause);
    return { refusal };
  }

  function judge(verification: Verification): Look {
    const refusal = refusalOf(verification);
    if (refusal !== undefined) return refuse(refusal);
    if (isPrincipal(verification)) return { principal: verification };
    return refuse(internalError(new Error("the verifier calls a key valid and does not say which. Update claviger")));
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
    // Longer than any secret: asked about it, the verifier would say that the question is wrong.
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
 * Whether a limit of the key is all that speaks against it: limits are looked at last. The call itself may have taken
 * what was left of the limit at an earlier guard.
 */
function isAtLimit({ verdict }: Verification): boolean {
  return verdict === Verdict.RATE_LIMITED || verdict === Verdict.QUOTA_EXHAUSTED;
}

/** What the earlier `requireKey`s of one call have found. The first of them takes the key out of the headers. */
interface PassedGuards {
  readonly credential: Credential & { readonly kind: "secret" };
  /** The verifiers that let the call in, each with its last answer. Each has charged the call once. */
  readonly admitted: Map<Verifier, Principal>;
}

const PASSED: unique symbol = Symbol("claviger passed guards");

interface Carrier {
  [PASSED]?: PassedGuards;
}

/** @param carrier an object that every `requireKey` of one call sees, and no other call ever does, such as Node's request */
function passedGuards(carrier: object): PassedGuards | undefined {
  return (carrier as Carrier)[PASSED];
}

/** Remembers the key of a call. Not enumerable: logs of the request do not show it. */
function rememberPassed(carrier: object, passed: PassedGuards): void {
  Object.defineProperty(carrier, PASSED, { value: passed, configurable: true });
}
