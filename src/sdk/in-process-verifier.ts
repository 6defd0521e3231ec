import { isIP } from "node:net";

import { durationMs } from "@bufbuild/protobuf/wkt";
import { type Answer, Freshness, type VerifyRequest } from "#gen/claviger/v1/key_verifier_pb.js";
import type { KnownSecret, ReadySecret } from "../keys/known-secret.ts";
import { isPlainMethod } from "../keys/question-limits.ts";
import type { UsageFlusher } from "../usage/flusher.ts";
import type { UsageRecorder } from "../usage/recorder.ts";
import { type Clocks, countedHere, type Timers } from "../verify/clocks.ts";
import { decide } from "../verify/decide.ts";
import type { Lease } from "../verify/lease.ts";
import type { SecretCache } from "../verify/secret-cache.ts";
import { isUndecided } from "./any-server.ts";
import { Slots } from "./slots.ts";
import { LinkBroken, type SyncLink } from "./sync-link.ts";
import { VERDICTS, verdictName } from "./verdicts.ts";
import type { Question, Verification, Verifier } from "./verification.ts";
import { fromRefusal, fromResponse, toRequest, undecided } from "./wire.ts";

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
  /** Milliseconds for which `close` goes on trying to send what was counted. */
  readonly closeMs: number;
  /** Verifies by calls. */
  readonly servers: {
    readonly count: number;
    verify(request: VerifyRequest): Promise<Verification>;
    close(): void;
  };
}

const NOTHING: Question = Object.freeze({});
const NO_SCOPES: readonly string[] = Object.freeze([]);
/** Questions and calls at once: below what a server takes of one stream. */
const MOST_AT_ONCE = 100;
/** Between two attempts to send, while closing: a stream that broke is opened again after about as long. */
const SEND_AGAIN_MS = 50;

/** Answers from memory under the lease of a link, on the link otherwise, and by a call where there is none. */
export class InProcessVerifier implements Verifier {
  readonly #options: InProcessVerifierOptions;
  readonly #slots = new Slots(MOST_AT_ONCE);
  #isClosed = false;
  #nextReport: { cancel(): void } | undefined;

  constructor(options: InProcessVerifierOptions) {
    this.#options = options;
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
    if (this.#isClosed) throw undecided("VERIFIER_CLOSED", "this verifier was closed. Create another");
    const known = this.verifySync(secret, question);
    if (known !== "ask") return known;
    const request = toRequest(secret, question);
    const slot = this.#slots.take();
    if (slot !== undefined) await slot;
    try {
      // Somebody before may have asked about the same secret.
      const learnt = slot === undefined ? "ask" : this.verifySync(secret, question);
      return learnt === "ask" ? await this.#askOrCall(request) : learnt;
    } finally {
      this.#slots.release();
    }
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    const { link, servers } = this.#options;
    this.#nextReport?.cancel();
    await this.#sendRest();
    link.close();
    servers.close();
  }

  /** A report that is under way lacks what was counted since it began, and a stream that has just broken comes back. */
  async #sendRest(): Promise<void> {
    const { flusher, clocks, pause, closeMs } = this.#options;
    const endMs = clocks.monotonicMs() + closeMs;
    await flusher.flush();
    while (!flusher.isEmpty && clocks.monotonicMs() < endMs) {
      await pause(SEND_AGAIN_MS);
      await flusher.flush();
    }
  }

  #reportLater(): void {
    const { timers, flusher, reportEveryMs } = this.#options;
    this.#nextReport = timers.after(reportEveryMs, () => {
      void flusher.flush().then(() => this.#isClosed || this.#reportLater());
    });
  }

  async #askOrCall(request: VerifyRequest): Promise<Verification> {
    const { link, servers } = this.#options;
    if (!link.isAttached) return servers.verify(request);
    try {
      return await this.#ask(request);
    } catch (error) {
      // A server that has lost its database says so, and others may not have.
      if (!(error instanceof LinkBroken) && !(servers.count > 1 && isUndecided(error))) throw error;
      return servers.verify(request);
    }
  }

  async #ask(request: VerifyRequest): Promise<Verification> {
    const { link, cache } = this.#options;
    const fill = cache.beginFill(cache.placeOf(request.secret));
    const { result, entry } = await link.ask(request);
    if (result.case === "refusal") throw fromRefusal(result.value);
    if (result.case === undefined) throw undecided("INTERNAL", "the server gave no answer. Retry in a moment");
    const verification = fromResponse(result.value);
    const ready = entry && this.#readyToKeep(entry, verification);
    if (ready !== undefined) cache.keep(fill, ready);
    return verification;
  }

  #readyToKeep(entry: NonNullable<Answer["entry"]>, verification: Verification): ReadySecret<About> | undefined {
    const { key, secretExpireTime, retireTime, revision } = verification;
    const standing = verdictName(entry.standing);
    if (key === undefined || standing === undefined || entry.freshFor === undefined) return undefined;
    const usageProof = Buffer.from(entry.usageProof).toString("latin1");
    return {
      ...{ keyId: key.id, owner: key.owner, version: key.secretVersion, standing, scopes: key.scopes, revision },
      ...{ allowedCidrs: entry.allowedCidrs, limits: null, about: { key, secretExpireTime, retireTime, usageProof } },
      lastsMs: countedHere(durationMs(entry.freshFor), this.#options.clockRateError),
    };
  }

  #answer(known: KnownSecret<About>, question: Question): Verification {
    const { scopes = NO_SCOPES, clientIp = "", method = "", cost = 1 } = question;
    const { verdict, missingScopes } = decide(known, { requiredScopes: scopes, clientIp });
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

/** Whether the question can be answered and counted here; the server says what is wrong with any other. */
function isPlain({ method, clientIp, cost }: Question, { allowedCidrs }: Pick<KnownSecret, "allowedCidrs">): boolean {
  return (
    (method === undefined || method === "" || isPlainMethod(method)) &&
    (cost === undefined || (Number.isInteger(cost) && cost >= 0)) &&
    (allowedCidrs.length === 0 || clientIp === undefined || clientIp === "" || isIP(clientIp) !== 0)
  );
}
