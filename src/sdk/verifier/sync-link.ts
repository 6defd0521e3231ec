import type { MessageInitShape } from "@bufbuild/protobuf";
import { durationMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import type {
  Answer,
  Change,
  LeaseGrant,
  SyncRequestSchema,
  SyncResponse,
  UsageReceipt,
  VerifyRequest,
} from "#gen/claviger/v1/key_verifier_pb.js";
import { type Clocks, countedHere, type Moment, readMoment, type Timers } from "../../system/clocks.ts";
import type { Lease } from "../../verify/lease.ts";
import { createListener } from "./listener.ts";
import { UnreadableAnswer } from "./sync-response.ts";
import { unreadable } from "./wire.ts";

/** One stream to a server. What is sent arrives in order, or the stream breaks. */
export interface SyncChannel {
  send(message: MessageInitShape<typeof SyncRequestSchema>): void;
  /** Ends it: nothing is heard of it any more. */
  close(): void;
}

/** Never called before the stream that it listens to has been returned. */
export interface SyncListener {
  /** For each message, in order. */
  onMessage(message: SyncResponse | UnreadableAnswer): void;
  /** Once, unless it was closed here. */
  onBroken(error: unknown): void;
}

/**
 * Where a verifier inside an agent stands.
 * - `attaching`: has no stream, or one on which no lease was granted yet; the lease of the one before may still run, with
 *   what was kept under it. Leaves with the first lease, which drops that.
 * - `leased`: answers from memory. Every grant extends it.
 * - `lapsed`: the lease ran out without another, as when the server has lost its own; the stream is open, and what was
 *   kept is told of changes. The next grant leads back to `leased`.
 * - `closed`: answers nothing.
 */
export type LinkState = "attaching" | "leased" | "lapsed" | "closed";

export interface SyncLinkOptions {
  /** Opens a stream, to another server each time if there are several. */
  readonly open: (listener: SyncListener) => SyncChannel;
  readonly lease: Lease;
  readonly cache: {
    apply(keyIds: readonly string[]): void;
    clear(): void;
  };
  readonly clocks: Clocks;
  readonly timers: Timers;
  /** 0 to 1, evenly: spreads the attempts of many. */
  readonly jitter: () => number;
  /** ε: by how much the rates of two clocks may differ. */
  readonly clockRateError: number;
  /** Milliseconds after which a lease that was asked for and did not come makes a stream count as broken. */
  readonly patienceMs: number;
  /** Milliseconds until a stream is opened again: after the first that broke, and after many in a row. */
  readonly retryMs: { readonly first: number; readonly max: number };
  /** Called with the reason for each stream that broke. */
  readonly onBroken?: (error: unknown) => void;
  /** Called for each lease that counts, and whether it is the first of its stream. Does not throw. */
  readonly onGranted?: (grant: LeaseGrant, isFirst: boolean) => void;
}

interface Pending<Value> {
  readonly sentMs: number;
  readonly resolve: (value: Value) => void;
  readonly reject: (error: unknown) => void;
}

interface Asked {
  readonly nonce: bigint;
  readonly since: Moment;
}

/** Share of a lease after which the next is asked for: of one of 3 seconds a second is left for the answer. */
const RENEWED_AFTER = 0.6;
/** Longest lease that is taken, in milliseconds: as much as a server can be set to. A longer one is cut. */
const LONGEST_LEASE_MS = 60_000;
/** Shortest time between two requests for a lease, in milliseconds, however short the leases of a server are. */
const SHORTEST_RENEWAL_MS = 50;
/** A stream that has lived for so long was a good one: the next is opened without a longer pause. */
const STEADY_MS = 1000;
/** A stream is given up if a question or a report stays without an answer for so long: 3 s above a server's own limit. */
const SILENCE_MS = 15_000;
/** Late answers that a stream may owe while more is asked on it: a server refuses the 129th question at once. */
const MOST_LATE = 20;

/** The stream broke before the answer came, or there was none. */
export class LinkBrokenError extends Error {
  override readonly name = "LinkBrokenError";
}

/** Keeps a stream of `Sync`, and the lease that is granted on it. */
export class SyncLink {
  /** First leases of streams. */
  attachments = 0;
  readonly #options: SyncLinkOptions;
  readonly #onBroken: (error: unknown) => void;
  /** In the order in which they were asked. */
  readonly #questions = new Map<bigint, Pending<Answer>>();
  /** When the questions were asked that are not waited for any more, and were not answered yet. */
  readonly #late = new Map<bigint, number>();
  #report: Pending<UsageReceipt> | undefined;
  #channel: SyncChannel | undefined;
  #phase: "attaching" | "attached" | "closed" = "attaching";
  #asked: Asked | undefined;
  #nonce = 0n;
  #nextId = 0n;
  /** Streams in a row that ended before they were steady. */
  #failures = 0;
  #attachedMs = Number.POSITIVE_INFINITY;
  #revision = 0;
  #timer: { cancel(): void } | undefined;

  constructor(options: SyncLinkOptions) {
    this.#options = options;
    const { onBroken = () => undefined } = options;
    this.#onBroken = createListener("onBroken", onBroken);
  }

  get state(): LinkState {
    if (this.#phase !== "attached") return this.#phase;
    return this.#options.lease.isLive() ? "leased" : "lapsed";
  }

  /** Every change up to here has come. */
  get appliedRevision(): number {
    return this.#revision;
  }

  /**
   * Whether questions are asked here. A stream that has granted nothing yet may lead nowhere, and an answer on it could
   * not be kept, since no revocation waits for this verifier because of it. A stream that owes many answers is spared.
   */
  get isAttached(): boolean {
    if (this.#late.size >= MOST_LATE) return false;
    return this.#channel !== undefined && this.#phase === "attached";
  }

  /** Begins, and goes on until `close`. */
  start(): void {
    this.#attach();
  }

  /** Rejects with `LinkBrokenError` if it is not known within the time what came of it. */
  ask(request: VerifyRequest, withinMs: number): Promise<Answer> {
    const { clocks, timers } = this.#options;
    const channel = this.#channel;
    if (channel === undefined || !this.isAttached)
      return Promise.reject(new LinkBrokenError("there is no stream to ask on"));
    this.#nextId += 1n;
    const id = this.#nextId;
    const { promise, resolve, reject } = Promise.withResolvers<Answer>();
    const sentMs = clocks.monotonicMs();
    const timer = timers.after(withinMs, () => {
      this.#questions.delete(id);
      this.#late.set(id, sentMs);
      reject(new LinkBrokenError(`no answer within ${Math.round(withinMs)} ms`));
    });
    this.#questions.set(id, { sentMs, resolve, reject });
    channel.send({ message: { case: "ask", value: { id, request } } });
    return promise.finally(() => timer.cancel());
  }

  /** Sends a report, one at a time. Rejects with `LinkBrokenError` if it is not known what came of it. */
  report(usage: MessageInitShape<typeof SyncRequestSchema>["message"] & { case: "usage" }): Promise<UsageReceipt> {
    const channel = this.#channel;
    if (channel === undefined) return Promise.reject(new LinkBrokenError("there is no stream to a server"));
    const { promise, resolve, reject } = Promise.withResolvers<UsageReceipt>();
    this.#report = { sentMs: this.#options.clocks.monotonicMs(), resolve, reject };
    channel.send({ message: usage });
    return promise;
  }

  /** Answers nothing from memory any more, and gives the lease back. */
  close(): void {
    if (this.#phase === "closed") return;
    this.#phase = "closed";
    this.#giveBack();
    this.#drop(new LinkBrokenError("the verifier was closed"));
  }

  #attach(): void {
    if (this.#phase === "closed") return;
    this.#phase = "attaching";
    const channel = this.#options.open({
      onMessage: (message) => {
        if (this.#channel === channel) this.#hear(message);
      },
      onBroken: (error) => {
        if (this.#channel === channel) this.#break(error);
      },
    });
    this.#channel = channel;
    this.#askForLease();
  }

  /** The clocks are read before it is asked (rule R1). */
  #askForLease(): void {
    const { clocks, patienceMs } = this.#options;
    if (this.#silentMs() > SILENCE_MS) {
      this.#break(new LinkBrokenError(`a question or report was not answered within ${SILENCE_MS} ms`));
      return;
    }
    this.#nonce += 1n;
    this.#asked = { nonce: this.#nonce, since: readMoment(clocks) };
    this.#channel?.send({ message: { case: "lease", value: { nonce: this.#nonce } } });
    this.#later(patienceMs, () => this.#break(new LinkBrokenError(`no lease within ${patienceMs} ms`)));
  }

  /** How long the oldest question or report has been without an answer, in milliseconds. */
  #silentMs(): number {
    const [question] = this.#questions.values();
    const [late] = this.#late.values();
    const nowMs = this.#options.clocks.monotonicMs();
    return nowMs - Math.min(question?.sentMs ?? nowMs, late ?? nowMs, this.#report?.sentMs ?? nowMs);
  }

  #hear(response: SyncResponse | UnreadableAnswer): void {
    if (response instanceof UnreadableAnswer) {
      const { id, cause } = response;
      this.#settle(id)?.reject(unreadable("it does not decode", cause));
      return;
    }
    const { message } = response;
    if (message.case === "lease") this.#take(message.value);
    else if (message.case === "change") this.#apply(message.value);
    else if (message.case === "answer") this.#answer(message.value);
    else if (message.case === "usage") this.#settleReport(message.value);
    else if (message.case === "closing") this.#leave();
  }

  /**
   * A late answer grants nothing, and neither does a second one. The first lease of a stream drops what was kept under
   * another (rule R5).
   */
  #take(grant: LeaseGrant): void {
    const { nonce, remaining, revision } = grant;
    const { lease, cache, clocks, clockRateError, jitter, patienceMs, onGranted } = this.#options;
    const asked = this.#asked;
    if (asked?.nonce !== nonce) return;
    this.#asked = undefined;
    const grantedMs = remaining === undefined ? 0 : countedHere(durationMs(remaining), clockRateError);
    const termMs = Math.min(LONGEST_LEASE_MS, grantedMs);
    if (!(termMs > 0)) {
      this.#later((patienceMs / 3) * (1 + jitter()), () => this.#askForLease());
      return;
    }
    const isFirst = this.#phase === "attaching";
    if (isFirst) {
      cache.clear();
      this.#phase = "attached";
      this.#attachedMs = clocks.monotonicMs();
      this.attachments += 1;
    }
    this.#revision = Number(revision);
    lease.grant(asked.since, termMs);
    onGranted?.(grant, isFirst);
    const renewMs = termMs * RENEWED_AFTER * (0.9 + 0.1 * jitter());
    this.#later(Math.max(SHORTEST_RENEWAL_MS, renewMs), () => this.#askForLease());
  }

  #apply({ sequence, keyIds, allKeys }: Change): void {
    const { cache } = this.#options;
    if (allKeys) cache.clear();
    else cache.apply(keyIds);
    this.#channel?.send({ message: { case: "applied", value: { sequence } } });
  }

  #answer(answer: Answer): void {
    this.#settle(answer.id)?.resolve(answer);
  }

  /** The question that is answered, unless its answer comes too late. */
  #settle(id: bigint): Pending<Answer> | undefined {
    const question = this.#questions.get(id);
    this.#questions.delete(id);
    this.#late.delete(id);
    return question;
  }

  #settleReport(receipt: UsageReceipt): void {
    this.#report?.resolve(receipt);
    this.#report = undefined;
  }

  /**
   * The server stops: its lease is over, and another server is looked for at once. If servers say so one after the
   * other, the pauses are those of streams that break.
   */
  #leave(): void {
    this.#giveBack();
    this.#drop(new LinkBrokenError("the server is stopping"));
    this.#phase = "attaching";
    const failures = this.#countFailure();
    if (failures === 0) this.#attach();
    else this.#attachLater(failures - 1);
  }

  #giveBack(): void {
    this.#options.lease.end();
    this.#channel?.send({ message: { case: "giveBack", value: {} } });
  }

  /** The lease runs on: the server waits for that. A verifier whose own credential has died stops at once. */
  #break(error: unknown): void {
    if (isRefusal(error)) this.#options.lease.end();
    this.#drop(new LinkBrokenError("the stream to the server broke", { cause: error }));
    this.#phase = "attaching";
    this.#attachLater(this.#countFailure());
    // Last: it may close this.
    this.#onBroken(error);
  }

  /** How many streams in a row had failed before the one that ends now. */
  #countFailure(): number {
    const livedMs = this.#options.clocks.monotonicMs() - this.#attachedMs;
    this.#attachedMs = Number.POSITIVE_INFINITY;
    const before = livedMs >= STEADY_MS ? 0 : this.#failures;
    this.#failures = before + 1;
    return before;
  }

  /** After a pause that is longer the more streams have failed in a row, and not the same for many verifiers. */
  #attachLater(failures: number): void {
    const { retryMs, jitter } = this.#options;
    const pauseMs = Math.min(retryMs.max, retryMs.first * 2 ** failures);
    this.#later(pauseMs * (0.5 + 0.5 * jitter()), () => this.#attach());
  }

  #drop(error: LinkBrokenError): void {
    this.#timer?.cancel();
    this.#channel?.close();
    this.#channel = undefined;
    this.#asked = undefined;
    const questions = [...this.#questions.values()];
    this.#questions.clear();
    this.#late.clear();
    for (const { reject } of questions) reject(error);
    this.#report?.reject(error);
    this.#report = undefined;
  }

  #later(ms: number, work: () => void): void {
    this.#timer?.cancel();
    this.#timer = this.#options.timers.after(ms, work);
  }
}

/** Whether a server has refused the verifier's own key. */
export function isRefusal(error: unknown): error is ConnectError {
  return error instanceof ConnectError && (error.code === Code.Unauthenticated || error.code === Code.PermissionDenied);
}
