import { ConnectError } from "@connectrpc/connect";
import type { VerifyRequest } from "#gen/claviger/v1/key_verifier_pb.js";
import { type Clocks, readMoment, type Timers } from "../../system/clocks.ts";
import type { UsageRecorder } from "../../usage/recorder.ts";
import { Interner } from "../../verify/interner.ts";
import type { Lease } from "../../verify/lease.ts";
import { networkOf } from "../../verify/network-of.ts";
import type { SecretCache } from "../../verify/secret-cache.ts";
import { Slots } from "../../verify/slots.ts";
import type { Question, ReadyOptions, Verification, Verifier } from "../verification.ts";
import { isUndecided } from "./any-server.ts";
import { answerFrom, type Forms, PlainQuestions, type PreparedAnswer, readEntry } from "./cached-answer.ts";
import { checkOptions, MILLISECONDS } from "./check-options.ts";
import { LinkBrokenError } from "./pending-requests.ts";
import { isRefusal, type SyncLink } from "./sync-link.ts";
import { type Trouble, troubleOf } from "./trouble.ts";
import { untilReady } from "./until-ready.ts";
import type { UsageReporter } from "./usage-reporter.ts";
import type { Warnings } from "./warnings.ts";
import { couldNotDecide, fromRefusal, fromResponse, malformed, toRequest, unreadable } from "./wire.ts";

export interface InProcessVerifierOptions {
  readonly link: Pick<SyncLink, "start" | "ask" | "close" | "isAttached" | "appliedRevision">;
  readonly lease: Lease;
  readonly cache: SecretCache<PreparedAnswer>;
  readonly recorder: Pick<UsageRecorder, "record">;
  readonly reporter: Pick<UsageReporter, "start" | "end">;
  /** ε: by how much the rates of two clocks may differ. */
  readonly clockRateError: number;
  readonly clocks: Clocks;
  readonly timers: Timers;
  /** Resolves after so many milliseconds and keeps the process alive meanwhile. */
  readonly pause: (ms: number) => Promise<void>;
  /** Milliseconds for one question in all, and for which `close` tries to send the counted usage. */
  readonly timeoutMs: number;
  readonly forms: Forms;
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

const NOTHING: Question = Object.freeze({});
/** Limit on concurrent questions and calls: below a server's own limit for one stream. */
const MAX_CONCURRENT = 100;
/**
 * Limit on questions that wait for a slot. A secret is below 100 bytes here, so all of them take a few megabytes even if
 * each asks for the longest scopes.
 */
const MAX_WAITING = 1000;

/** Answers from memory under the lease of a link, on the link's stream otherwise, and by a call where there is none. */
export class InProcessVerifier implements Verifier {
  readonly #options: InProcessVerifierOptions;
  readonly #slots: Slots;
  readonly #lists = new Interner();
  readonly #plain = new PlainQuestions();
  #isClosed = false;

  constructor(options: InProcessVerifierOptions) {
    this.#options = options;
    this.#slots = new Slots({ count: MAX_CONCURRENT, mostWaiting: MAX_WAITING, timers: options.timers });
  }

  /** Begins to attach and to report. */
  start(): void {
    this.#options.link.start();
    this.#options.reporter.start();
  }

  get fresh(): boolean {
    return !this.#isClosed && this.#options.lease.isLive();
  }

  get appliedRevision(): number {
    return this.#options.link.appliedRevision;
  }

  get tokenExpireTime(): Date | undefined {
    return this.#options.warnings.tokenExpireTime;
  }

  verifySync(secret: string, question: Question = NOTHING): Verification | "ask" {
    // Also while the last report is being sent: a later answer would not be counted.
    if (this.#isClosed) return "ask";
    const { cache, clocks, recorder, link } = this.#options;
    const place = cache.placeOf(secret);
    const now = readMoment(clocks);
    const known = cache.find(place, now);
    if (known === undefined || !this.#plain.isPlain(question, known)) return "ask";
    return answerFrom(known, question, { recorder, wallMs: now.wallMs, appliedRevision: link.appliedRevision });
  }

  async verify(secret: string, question: Question = NOTHING): Promise<Verification> {
    if (this.#isClosed) throw couldNotDecide("VERIFIER_CLOSED", "this verifier was closed. Create another");
    const known = this.verifySync(secret, question);
    if (known !== "ask") return known;
    const request = toRequest(secret, question);
    const { forms, clocks, timeoutMs, warnings, holdProcess } = this.#options;
    // The empty secret goes to the server: an answer shows that a server can be reached.
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

  async ready(options: ReadyOptions = {}): Promise<void> {
    checkOptions("ready", options, { timeoutMs: MILLISECONDS });
    const { clocks, timers, pause } = this.#options;
    const { timeoutMs = 10_000 } = options;
    const [isReady, reach] = [() => this.fresh, () => this.#reach()];
    await untilReady({ timeoutMs, isReady, reach, clocks, timers, pause });
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    const { link, servers, reporter, timeoutMs, holdProcess, onClosed } = this.#options;
    const release = holdProcess();
    await reporter.end(timeoutMs);
    release();
    link.close();
    servers.close();
    onClosed?.();
  }

  async #inTurn(
    request: VerifyRequest,
    { endMs, recall }: { readonly endMs: number; readonly recall: () => Verification | "ask" },
  ): Promise<Verification> {
    const turn = this.#slots.take(networkOf(request.clientIp), this.#options.timeoutMs);
    if (turn !== undefined && (await turn) !== "slot") {
      throw couldNotDecide(
        "OVERLOADED",
        `too many questions wait for the server (limit ${MAX_WAITING}). Retry shortly`,
      );
    }
    try {
      // An earlier question may have been about the same secret.
      const learnt = turn === undefined ? "ask" : recall();
      return learnt === "ask" ? await this.#askOrCall(request, endMs) : learnt;
    } finally {
      this.#slots.release();
    }
  }

  /** The stream has half of the time that is left, so that calls have the other half if it leads nowhere. */
  async #askOrCall(request: VerifyRequest, endMs: number): Promise<Verification> {
    const { link, servers, clocks } = this.#options;
    const leftMs = () => Math.max(1, endMs - clocks.monotonicMs());
    if (!link.isAttached) return servers.verify(request, leftMs());
    try {
      return await this.#ask(request, leftMs() / 2);
    } catch (error) {
      // A server that has lost its database says so, and another server may still have it.
      if (!(error instanceof LinkBrokenError) && !(servers.count > 1 && isUndecided(error))) throw error;
      return servers.verify(request, leftMs());
    }
  }

  async #ask(request: VerifyRequest, withinMs: number): Promise<Verification> {
    const { link, cache, forms, clockRateError } = this.#options;
    const fill = cache.beginFill(cache.placeOf(request.secret));
    const { result, entry } = await link.ask(request, withinMs);
    if (result.case === "refusal") throw fromRefusal(result.value);
    if (result.case === undefined) throw unreadable("it is neither a response nor a refusal");
    const verification = fromResponse(result.value);
    const { start } = fill;
    const rules = { forms, clockRateError, lists: this.#lists };
    const ready = entry && readEntry(entry, { request, verification, start }, rules);
    if (ready !== undefined) cache.keep(fill, ready);
    return verification;
  }

  /** Asks about the empty secret, which shows whether a server can be reached and accepts this verifier. */
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
}
