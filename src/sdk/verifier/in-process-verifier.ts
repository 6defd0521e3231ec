import { isIP } from "node:net";
import { durationMs } from "@bufbuild/protobuf/wkt";
import { ConnectError } from "@connectrpc/connect";
import { Environment } from "#gen/claviger/v1/key_pb.js";
import { type Answer, Freshness, type VerifyRequest } from "#gen/claviger/v1/key_verifier_pb.js";
import type { KnownSecret, ReadySecret } from "../../keys/known-secret.ts";
import { type Clocks, countedHere, type Timers } from "../../system/clocks.ts";
import type { UsageFlusher } from "../../usage/flusher.ts";
import type { UsageRecorder } from "../../usage/recorder.ts";
import { decide } from "../../verify/decide.ts";
import type { Lease } from "../../verify/lease.ts";
import { networkOf } from "../../verify/network-of.ts";
import type { SecretCache } from "../../verify/secret-cache.ts";
import { Slots } from "../../verify/slots.ts";
import { isPlainMethod, isRequiredScope, QUESTION_LIMITS } from "../../wire/question-limits.ts";
import { VERDICTS, verdictName } from "../../wire/verdicts.ts";
import type { Question, ReadyOptions, Verification, Verifier } from "../verification.ts";
import { isUndecided } from "./any-server.ts";
import { checkOptions, ENVIRONMENT, MILLISECONDS } from "./check-options.ts";
import { isRefusal, LinkBrokenError, type SyncLink } from "./sync-link.ts";
import { type Trouble, troubleOf } from "./trouble.ts";
import type { Warnings } from "./warnings.ts";
import { couldNotDecide, fromRefusal, fromResponse, malformed, toRequest, unasked, unreadable } from "./wire.ts";

/** What a verification tells of a key, besides the verdict; and what shows a server that it was told so. */
export type About = Pick<Verification, "key" | "secretExpireTime" | "retireTime"> & {
  /** Each byte as the character of that code: an array would keep the message alive that it came in. */
  readonly usageProof: string;
};

export interface InProcessVerifierOptions {
  readonly link: Pick<SyncLink, "start" | "ask" | "close" | "isAttached" | "appliedRevision">;
  readonly lease: Lease;
  readonly cache: SecretCache<About>;
  readonly recorder: Pick<UsageRecorder, "record">;
  readonly flusher: Pick<UsageFlusher, "flush" | "isEmpty">;
  /** ε: by how much the rates of two clocks may differ. */
  readonly clockRateError: number;
  readonly clocks: Pick<Clocks, "monotonicMs">;
  readonly timers: Timers;
  /** Resolves after so many milliseconds, for which the process lives. */
  readonly pause: (ms: number) => Promise<void>;
  /** Milliseconds between two reports of usage. */
  readonly reportEveryMs: number;
  /** Milliseconds that a question may take in all, and for which `close` goes on trying to send what was counted. */
  readonly timeoutMs: number;
  /** What secrets and key ids look like. A server accepts no report about an id that looks otherwise. */
  readonly forms: { isSecret(text: string): boolean; isKeyId(text: string): boolean };
  readonly warnings: Pick<Warnings, "met" | "tokenExpireTime">;
  /** Keeps the process alive until the returned function is called. */
  readonly holdProcess: () => () => void;
  /** Called once everything is closed. */
  readonly onClosed?: (() => void) | undefined;
  /** Verifies by calls. */
  readonly servers: {
    readonly count: number;
    verify(request: VerifyRequest, withinMs: number): Promise<Verification>;
    close(): void;
  };
}

const QUESTION_NAMES: ReadonlySet<string> = new Set(["scopes", "method", "clientIp", "environment", "cost"]);
const NOTHING: Question = Object.freeze({});
const NO_SCOPES: readonly string[] = Object.freeze([]);
/** Questions and calls at once: below what a server takes of one stream. */
const MOST_AT_ONCE = 100;
/**
 * Questions that wait for that, at most. A secret is below 100 bytes here, so all of them take a few megabytes even if
 * each asks for the longest scopes.
 */
const MOST_WAITING = 1000;
/** Between two questions whether a server can be reached, in milliseconds. */
const READY_AGAIN_MS = 200;
/** Between two attempts to send, while closing: a stream that broke is opened again after about as long. */
const SEND_AGAIN_MS = 50;

/** Answers from memory under the lease of a link, on the link otherwise, and by a call where there is none. */
export class InProcessVerifier implements Verifier {
  readonly #options: InProcessVerifierOptions;
  readonly #slots: Slots;
  #isClosed = false;
  #nextReport: { cancel(): void } | undefined;

  constructor(options: InProcessVerifierOptions) {
    this.#options = options;
    this.#slots = new Slots({ count: MOST_AT_ONCE, mostWaiting: MOST_WAITING, timers: options.timers });
  }

  /** Begins to attach and to report. */
  start(): void {
    this.#options.link.start();
    this.#reportLater();
  }

  get fresh(): boolean {
    return !this.#isClosed && this.#options.lease.isLive();
  }

  get appliedRevision(): number {
    return this.#options.link.appliedRevision;
  }

  verifySync(secret: string, question: Question = NOTHING): Verification | "ask" {
    // While the last counts are being sent, too: nobody would count it.
    if (this.#isClosed) return "ask";
    const { cache } = this.#options;
    const known = cache.find(cache.placeOf(secret));
    return known === undefined || !isPlain(question, known) ? "ask" : this.#answer(known, question);
  }

  async verify(secret: string, question: Question = NOTHING): Promise<Verification> {
    if (this.#isClosed) throw couldNotDecide("VERIFIER_CLOSED", "this verifier was closed. Create another");
    const known = this.verifySync(secret, question);
    if (known !== "ask") return known;
    const request = toRequest(secret, question);
    const { forms, clocks, timeoutMs, warnings, holdProcess } = this.#options;
    // The empty secret is asked about all the same: an answer shows that a server can be reached.
    if (secret !== "" && !forms.isSecret(secret)) return malformed();
    const endMs = clocks.monotonicMs() + timeoutMs;
    const release = holdProcess();
    try {
      return await this.#inTurn(request, { endMs, recall: () => this.verifySync(secret, question) });
    } catch (error) {
      if (isUndecided(error) || isRefusal(error)) warnings.met(error);
      throw error;
    } finally {
      release();
    }
  }

  async #inTurn(
    request: VerifyRequest,
    { endMs, recall }: { readonly endMs: number; readonly recall: () => Verification | "ask" },
  ): Promise<Verification> {
    const turn = this.#slots.take(networkOf(request.clientIp), this.#options.timeoutMs);
    if (turn !== undefined && (await turn) !== "slot") {
      throw couldNotDecide("OVERLOADED", "too many questions wait for the server. Retry in a moment");
    }
    try {
      // A question before may have been about the same secret.
      const learnt = turn === undefined ? "ask" : recall();
      return learnt === "ask" ? await this.#askOrCall(request, endMs) : learnt;
    } finally {
      this.#slots.release();
    }
  }

  get tokenExpireTime(): Date | undefined {
    return this.#options.warnings.tokenExpireTime;
  }

  async ready(options: ReadyOptions = {}): Promise<void> {
    checkOptions("ready", options, { timeoutMs: MILLISECONDS });
    const { clocks, timers, pause } = this.#options;
    const { timeoutMs = 10_000 } = options;
    const endMs = clocks.monotonicMs() + timeoutMs;
    const { promise: late, resolve: giveUp } = Promise.withResolvers<"late">();
    const timer = timers.after(timeoutMs, () => giveUp("late"));
    let last: Trouble | undefined;
    try {
      while (!this.fresh) {
        const outcome = await Promise.race([this.#reach(), late]);
        if (outcome === "reached") return;
        if (outcome !== "late") last = outcome;
        if (outcome === "late" || clocks.monotonicMs() >= endMs) throw notReady(timeoutMs, last);
        await pause(READY_AGAIN_MS);
      }
    } finally {
      timer.cancel();
    }
  }

  /** Asks about the empty secret, which shows whether a server can be reached, and whether it takes this verifier. */
  async #reach(): Promise<"reached" | Trouble> {
    try {
      await this.verify("");
      return "reached";
    } catch (error) {
      const trouble = troubleOf(error);
      if (isRefusal(error)) throw new ConnectError(trouble.message, error.code, undefined, undefined, error);
      if (trouble.isPermanent || this.#isClosed) throw error;
      return trouble;
    }
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    const { link, servers, holdProcess, onClosed } = this.#options;
    this.#nextReport?.cancel();
    const release = holdProcess();
    await this.#sendRest();
    release();
    link.close();
    servers.close();
    onClosed?.();
  }

  /** A report that is under way lacks what was counted since it began, and a stream that has just broken comes back. */
  async #sendRest(): Promise<void> {
    const { flusher, clocks, pause, timeoutMs } = this.#options;
    const endMs = clocks.monotonicMs() + timeoutMs;
    await this.#flushUntil(endMs);
    while (!flusher.isEmpty && clocks.monotonicMs() < endMs) {
      await pause(SEND_AGAIN_MS);
      await this.#flushUntil(endMs);
    }
  }

  /** A server may never answer a report. */
  async #flushUntil(endMs: number): Promise<void> {
    const { flusher, clocks, timers } = this.#options;
    await new Promise<void>((resolve) => {
      const timer = timers.after(Math.max(0, endMs - clocks.monotonicMs()), resolve);
      void flusher.flush().then(() => {
        timer.cancel();
        resolve();
      });
    });
  }

  #reportLater(): void {
    const { timers, flusher, reportEveryMs } = this.#options;
    this.#nextReport = timers.after(reportEveryMs, () => {
      void flusher.flush().then(() => this.#isClosed || this.#reportLater());
    });
  }

  /** The stream has half of the time that is left: where it leads nowhere, the other half is for calls. */
  async #askOrCall(request: VerifyRequest, endMs: number): Promise<Verification> {
    const { link, servers, clocks } = this.#options;
    const leftMs = () => Math.max(1, endMs - clocks.monotonicMs());
    if (!link.isAttached) return servers.verify(request, leftMs());
    try {
      return await this.#ask(request, leftMs() / 2);
    } catch (error) {
      // A server that has lost its database says so, and others may not have.
      if (!(error instanceof LinkBrokenError) && !(servers.count > 1 && isUndecided(error))) throw error;
      return servers.verify(request, leftMs());
    }
  }

  async #ask(request: VerifyRequest, withinMs: number): Promise<Verification> {
    const { link, cache } = this.#options;
    const fill = cache.beginFill(cache.placeOf(request.secret));
    const { result, entry } = await link.ask(request, withinMs);
    if (result.case === "refusal") throw fromRefusal(result.value);
    if (result.case === undefined) throw unreadable("it is neither a response nor a refusal");
    const verification = fromResponse(result.value);
    const ready = entry && this.#readyToKeep(entry, verification);
    if (ready !== undefined && isAgreed(ready, { request, verification })) cache.keep(fill, ready);
    return verification;
  }

  #readyToKeep(entry: NonNullable<Answer["entry"]>, verification: Verification): ReadySecret<About> | undefined {
    const { key, secretExpireTime, retireTime, revision } = verification;
    const standing = verdictName(entry.standing);
    if (key === undefined || standing === undefined || entry.freshFor === undefined) return undefined;
    const { forms, clockRateError } = this.#options;
    const lastsMs = countedHere(durationMs(entry.freshFor), clockRateError);
    if (!(lastsMs > 0) || !forms.isKeyId(key.id) || key.secretVersion < 1) return undefined;
    const usageProof = Buffer.from(entry.usageProof).toString("latin1");
    return {
      ...{
        keyId: key.id,
        owner: key.owner,
        version: key.secretVersion,
        standing,
        environment: environmentName(key.environment) ?? "live",
        scopes: key.scopes,
        revision,
        lastsMs,
      },
      ...{ allowedCidrs: entry.allowedCidrs, limits: null, about: { key, secretExpireTime, retireTime, usageProof } },
    };
  }

  #answer(known: KnownSecret<About>, question: Question): Verification {
    const { scopes = NO_SCOPES, clientIp = "", method = "", cost = 1, environment = "any" } = question;
    const asked = environment === "any" ? undefined : environment;
    const { verdict, missingScopes } = decide(known, { requiredScopes: scopes, clientIp, environment: asked });
    const { keyId, version, about } = known;
    const charged = verdict === "valid" ? cost : 0;
    const proof = about.usageProof;
    this.#options.recorder.record({ keyId, callerId: "", version, verdict, method, cost: charged, proof }, known);
    return {
      verdict: VERDICTS[verdict],
      key: about.key,
      secretExpireTime: about.secretExpireTime,
      retireTime: about.retireTime,
      missingScopes,
      retryAfterMs: undefined,
      freshness: Freshness.LEASED,
      revision: Math.max(known.revision, this.#options.link.appliedRevision),
    };
  }
}

function environmentName(environment: Environment): "live" | "test" | undefined {
  if (environment === Environment.TEST) return "test";
  return environment === Environment.LIVE ? "live" : undefined;
}

function notReady(timeoutMs: number, last: Trouble | undefined): ConnectError {
  const why = last?.message ?? "no server has answered yet. See whether url is right, and whether Claviger runs";
  const code = last?.code ?? "CLAVIGER_SERVER_UNREACHABLE";
  return unasked({ code, message: `not ready within ${timeoutMs} ms: ${why}`, isPermanent: false }, undefined);
}

/** Whether memory would have answered the question as the server did. If not, one of both is wrong. */
function isAgreed(
  ready: ReadySecret<About>,
  { request, verification }: { readonly request: VerifyRequest; readonly verification: Verification },
): boolean {
  const { requiredScopes, clientIp } = request;
  const question = { requiredScopes, clientIp, environment: environmentName(request.environment) };
  return VERDICTS[decide(ready, question).verdict] === verification.verdict;
}

/**
 * Whether the question can be answered and counted here; `toRequest` and the server say what is wrong with any other. A
 * name that no question has may be a misspelt `scopes`.
 */
function isPlain(question: Question, { allowedCidrs }: Pick<KnownSecret, "allowedCidrs">): boolean {
  for (const name in question) {
    if (!QUESTION_NAMES.has(name)) return false;
  }
  const { scopes, method, clientIp, cost, environment } = question;
  return (
    (environment === undefined || ENVIRONMENT.holds(environment)) &&
    (scopes === undefined ||
      (Array.isArray(scopes) && scopes.length <= QUESTION_LIMITS.scopes && scopes.every(isRequiredScope))) &&
    (method === undefined || method === "" || isPlainMethod(method)) &&
    (cost === undefined || (Number.isInteger(cost) && cost >= 0)) &&
    (allowedCidrs.length === 0 || clientIp === undefined || clientIp === "" || isIP(clientIp) !== 0)
  );
}
