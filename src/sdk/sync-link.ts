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
import { type Clocks, countedHere, type Moment, readMoment, type Timers } from "../verify/clocks.ts";
import type { Lease } from "../verify/lease.ts";

/** One stream to a server. What is sent arrives in order, or the stream breaks. */
export interface SyncChannel {
  send(message: MessageInitShape<typeof SyncRequestSchema>): void;
  /** Ends it: nothing is heard of it any more. */
  close(): void;
}

/** Never called before the stream that it listens to has been returned. */
export interface SyncListener {
  /** For each message, in order. */
  onMessage(message: SyncResponse): void;
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
  readonly retryMs: { readonly first: number; readonly most: number };
  /** Told of each stream that broke, and why. */
  readonly onBroken?: (error: unknown) => void;
}

interface Question {
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: unknown) => void;
}

interface Asked {
  readonly nonce: bigint;
  readonly since: Moment;
}

/** Share of a lease after which the next is asked for: of one of 3 seconds a second is left for the answer. */
const RENEWED_AFTER = 0.6;

/** The stream broke before the answer came, or there was none. */
export class LinkBroken extends Error {
  override readonly name = "LinkBroken";
}

/** Keeps a stream of `Sync`, and the lease that is granted on it. */
export class SyncLink {
  /** First leases of streams. */
  attachments = 0;
  readonly #options: SyncLinkOptions;
  readonly #questions = new Map<bigint, Question>();
  #report: { readonly resolve: (receipt: UsageReceipt) => void; readonly reject: (error: unknown) => void } | undefined;
  #channel: SyncChannel | undefined;
  #phase: "attaching" | "attached" | "closed" = "attaching";
  #asked: Asked | undefined;
  #nonce = 0n;
  #nextId = 0n;
  #failures = 0;
  #revision = 0;
  #timer: { cancel(): void } | undefined;

  constructor(options: SyncLinkOptions) {
    this.#options = options;
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
   * Whether questions are asked here. A stream that has granted nothing yet may lead nowhere; and what was answered on
   * it could not be kept, since nobody waits for this verifier because of it.
   */
  get isAttached(): boolean {
    return this.#channel !== undefined && this.#phase === "attached";
  }

  /** Begins, and goes on until `close`. */
  start(): void {
    this.#attach();
  }

  /** Rejects with `LinkBroken` if it is not known what came of it. */
  ask(request: VerifyRequest): Promise<Answer> {
    const channel = this.#channel;
    if (channel === undefined || !this.isAttached)
      return Promise.reject(new LinkBroken("there is no stream to ask on"));
    this.#nextId += 1n;
    const id = this.#nextId;
    const { promise, resolve, reject } = Promise.withResolvers<Answer>();
    this.#questions.set(id, { resolve, reject });
    channel.send({ message: { case: "ask", value: { id, request } } });
    return promise;
  }

  /** Sends a report, one at a time. Rejects with `LinkBroken` if it is not known what came of it. */
  report(usage: MessageInitShape<typeof SyncRequestSchema>["message"] & { case: "usage" }): Promise<UsageReceipt> {
    const channel = this.#channel;
    if (channel === undefined) return Promise.reject(new LinkBroken("there is no stream to a server"));
    const { promise, resolve, reject } = Promise.withResolvers<UsageReceipt>();
    this.#report = { resolve, reject };
    channel.send({ message: usage });
    return promise;
  }

  /** Answers nothing from memory any more, and gives the lease back. */
  close(): void {
    if (this.#phase === "closed") return;
    this.#phase = "closed";
    this.#giveBack();
    this.#drop(new LinkBroken("the verifier was closed"));
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
    this.#nonce += 1n;
    this.#asked = { nonce: this.#nonce, since: readMoment(clocks) };
    this.#channel?.send({ message: { case: "lease", value: { nonce: this.#nonce } } });
    this.#later(patienceMs, () => this.#break(new LinkBroken(`no lease within ${patienceMs} ms`)));
  }

  #hear({ message }: SyncResponse): void {
    if (message.case === "lease") this.#take(message.value);
    else if (message.case === "change") this.#apply(message.value);
    else if (message.case === "answer") this.#answer(message.value);
    else if (message.case === "usage") this.#settleReport(message.value);
    else if (message.case === "closing") this.#leave();
  }

  /** A late answer grants nothing. The first lease of a stream drops what was kept under another (rule R5). */
  #take({ nonce, remaining, revision }: LeaseGrant): void {
    const { lease, cache, clockRateError, jitter, patienceMs } = this.#options;
    const asked = this.#asked;
    if (asked?.nonce !== nonce) return;
    const termMs = remaining === undefined ? 0 : countedHere(durationMs(remaining), clockRateError);
    if (termMs <= 0) {
      this.#later((patienceMs / 3) * (1 + jitter()), () => this.#askForLease());
      return;
    }
    if (this.#phase === "attaching") {
      cache.clear();
      this.#phase = "attached";
      this.#failures = 0;
      this.attachments += 1;
    }
    this.#revision = Number(revision);
    lease.grant(asked.since, termMs);
    this.#later(termMs * RENEWED_AFTER * (0.9 + 0.1 * jitter()), () => this.#askForLease());
  }

  #apply({ sequence, keyIds, allKeys }: Change): void {
    const { cache } = this.#options;
    if (allKeys) cache.clear();
    else cache.apply(keyIds);
    this.#channel?.send({ message: { case: "applied", value: { sequence } } });
  }

  #answer(answer: Answer): void {
    const question = this.#questions.get(answer.id);
    this.#questions.delete(answer.id);
    question?.resolve(answer);
  }

  #settleReport(receipt: UsageReceipt): void {
    this.#report?.resolve(receipt);
    this.#report = undefined;
  }

  /** The server stops: what was granted by it is over, and another is looked for at once. */
  #leave(): void {
    this.#giveBack();
    this.#drop(new LinkBroken("the server is stopping"));
    this.#attach();
  }

  #giveBack(): void {
    this.#options.lease.end();
    this.#channel?.send({ message: { case: "giveBack", value: {} } });
  }

  /** The lease runs on: the server waits for that. A verifier whose own credential has died stops at once. */
  #break(error: unknown): void {
    const { retryMs, jitter, onBroken, lease } = this.#options;
    if (isRefusal(error)) lease.end();
    this.#drop(new LinkBroken("the stream to the server broke", { cause: error }));
    this.#phase = "attaching";
    const pauseMs = Math.min(retryMs.most, retryMs.first * 2 ** this.#failures);
    this.#failures += 1;
    this.#later(pauseMs * (0.5 + 0.5 * jitter()), () => this.#attach());
    // Last: it may throw, or close this.
    onBroken?.(error);
  }

  #drop(error: LinkBroken): void {
    this.#timer?.cancel();
    this.#channel?.close();
    this.#channel = undefined;
    this.#asked = undefined;
    const questions = [...this.#questions.values()];
    this.#questions.clear();
    for (const { reject } of questions) reject(error);
    this.#report?.reject(error);
    this.#report = undefined;
  }

  #later(ms: number, work: () => void): void {
    this.#timer?.cancel();
    this.#timer = this.#options.timers.after(ms, work);
  }
}

function isRefusal(error: unknown): boolean {
  return error instanceof ConnectError && (error.code === Code.Unauthenticated || error.code === Code.PermissionDenied);
}
