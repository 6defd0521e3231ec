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
import { sampledTraceparent } from "../../system/tracing.ts";
import type { Lease } from "../../verify/lease.ts";
import { createListener } from "./listener.ts";
import { LinkBrokenError, PendingRequests } from "./pending-requests.ts";
import { UnreadableAnswer } from "./sync-response.ts";

/** One stream to a server. Messages arrive in the order in which they are sent, or the stream breaks. */
export interface SyncChannel {
  send(message: MessageInitShape<typeof SyncRequestSchema>): void;
  /** Ends the stream: its listener is not called any more. */
  close(): void;
}

/** Never called before the stream that it listens to has been returned. */
export interface SyncListener {
  /** Called for each message, in order. */
  onMessage(message: SyncResponse | UnreadableAnswer): void;
  /** Called once, unless the stream was closed here. */
  onBroken(error: unknown): void;
}

/**
 * Whether a verifier inside an agent may answer from memory.
 * - `attaching`: it has no stream, or one on which no lease was granted yet. The lease of the stream before may still
 *   run, and the entries that were kept under it stay. The first lease of a stream drops them and ends this state.
 * - `leased`: it answers from memory. Every grant extends the lease.
 * - `lapsed`: the lease ran out without another, as when the server has lost its own. The stream is open, and changes
 *   still reach the entries. The next grant leads back to `leased`.
 * - `closed`: it answers nothing.
 *
 * The clocks decide between `leased` and `lapsed` at the moment of a question; no timer does.
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
  /** From 0 to 1, evenly distributed: spreads the attempts of many verifiers. */
  readonly jitter: () => number;
  /** ε: by how much the rates of two clocks may differ. */
  readonly clockRateError: number;
  /** Milliseconds after which a stream counts as broken if a requested lease has not come. */
  readonly patienceMs: number;
  /** Back-off in milliseconds until a stream is opened again: after the first that broke, and after many in a row. */
  readonly retryMs: { readonly first: number; readonly max: number };
  /** Called with the reason for each stream that broke. */
  readonly onBroken?: (error: unknown) => void;
  /** Called for each lease that counts, and whether it is the first of its stream. Does not throw. */
  readonly onGranted?: (grant: LeaseGrant, isFirst: boolean) => void;
}

interface Stream {
  readonly channel: SyncChannel;
  /** When the first lease was granted; undefined until then. */
  attachedMs: number | undefined;
}

interface LeaseRequest {
  readonly nonce: bigint;
  readonly since: Moment;
}

/** A state of the link. It owns at most one timer: `enter` starts it, `exit` cancels it. */
interface State {
  readonly name: "idle" | "pausing" | "requesting" | "resting" | "closed";
  /** The lease that was asked for. */
  readonly request?: LeaseRequest;
  enter(): void;
  exit(): void;
}

/** Share of a lease after which the next is requested: a lease of 3 seconds leaves more than one for the answer. */
const RENEW_AFTER = 0.6;
/** Longest lease that is accepted, in milliseconds: the most that a server can be set to. A longer one is cut. */
const MAX_LEASE_MS = 60_000;
/** Shortest time between two requests for a lease, in milliseconds, however short the leases of a server are. */
const MIN_RENEWAL_MS = 50;
/** A stream that lived this long was good: the back-off starts again from the first pause. */
const STEADY_MS = 1000;
/** A stream is closed if a question or a report has no answer after this time: 3 s above a server's own limit. */
const SILENCE_MS = 15_000;

const IDLE: State = { name: "idle", enter: () => undefined, exit: () => undefined };
const CLOSED: State = { ...IDLE, name: "closed" };

/**
 * Keeps a stream of `Sync`, and the lease that is granted on it.
 *
 * ```
 *            open                grant
 *  pausing ───────▶ requesting ────────▶ resting
 *     ▲              │      ▲              │  │
 *     │ broken       │      └──────────────┘  │ broken
 *     └──────────────┴────────────────────────┘
 * ```
 *
 * - `pausing` has no stream. Its timer opens one.
 * - `requesting` has asked for a lease. Its timer breaks the stream after `patienceMs`.
 * - `resting` has an answer: a lease, or none for now. Its timer requests the next lease.
 * - `idle`, before `start`, and `closed`, which is final, have neither a stream nor a timer.
 */
export class SyncLink {
  /** First leases of streams. */
  attachments = 0;
  readonly #options: SyncLinkOptions;
  readonly #onBroken: (error: unknown) => void;
  readonly #requests: PendingRequests;
  #stream: Stream | undefined;
  #state: State = IDLE;
  #nonce = 0n;
  /** Streams in a row that ended before they were steady. */
  #failures = 0;
  #revision = 0;

  constructor(options: SyncLinkOptions) {
    const { clocks, timers, onBroken = () => undefined } = options;
    this.#options = options;
    this.#onBroken = createListener("onBroken", onBroken);
    this.#requests = new PendingRequests(clocks, timers);
  }

  get state(): LinkState {
    if (this.#state.name === "closed") return "closed";
    if (this.#stream?.attachedMs === undefined) return "attaching";
    return this.#options.lease.isLive() ? "leased" : "lapsed";
  }

  /** Every change up to here has come. */
  get appliedRevision(): number {
    return this.#revision;
  }

  /**
   * Whether questions are asked here. A stream that has granted nothing yet may lead nowhere, and its answers could not
   * be kept, because no revocation waits for this verifier on it. A stream that owes many late answers gets no more.
   */
  get isAttached(): boolean {
    return this.#stream?.attachedMs !== undefined && !this.#requests.hasTooManyLate;
  }

  /** Opens streams until `close`. */
  start(): void {
    this.#open();
  }

  /** Rejects with `LinkBrokenError` if no answer comes within the time. */
  ask(request: VerifyRequest, withinMs: number): Promise<Answer> {
    const stream = this.#stream;
    if (stream === undefined || !this.isAttached)
      return Promise.reject(new LinkBrokenError("there is no stream to ask on"));
    const { id, answer } = this.#requests.ask(withinMs);
    stream.channel.send({ message: { case: "ask", value: { id, request, traceparent: sampledTraceparent() ?? "" } } });
    return answer;
  }

  /** Sends a report, one at a time. Rejects with `LinkBrokenError` if its outcome is not known. */
  report(usage: MessageInitShape<typeof SyncRequestSchema>["message"] & { case: "usage" }): Promise<UsageReceipt> {
    const stream = this.#stream;
    if (stream === undefined) return Promise.reject(new LinkBrokenError("there is no stream to a server"));
    const receipt = this.#requests.report();
    stream.channel.send({ message: usage });
    return receipt;
  }

  /** Ends all answers from memory, and gives the lease back. */
  close(): void {
    if (this.#state.name === "closed") return;
    this.#enter(CLOSED);
    this.#giveBack();
    this.#drop(new LinkBrokenError("the verifier was closed"));
  }

  /** A closed link enters no other state. */
  #enter(state: State): void {
    if (this.#state.name === "closed") return;
    this.#state.exit();
    this.#state = state;
    state.enter();
  }

  #open(): void {
    if (this.#state.name === "closed") return;
    const stream: Stream = {
      channel: this.#options.open({
        onMessage: (message) => {
          if (this.#stream === stream) this.#hear(message);
        },
        onBroken: (error) => {
          if (this.#stream === stream) this.#break(error);
        },
      }),
      attachedMs: undefined,
    };
    this.#stream = stream;
    this.#requestLease();
  }

  #requestLease(): void {
    if (this.#requests.silentMs() > SILENCE_MS) {
      this.#break(new LinkBrokenError(`a question or report was not answered within ${SILENCE_MS} ms`));
      return;
    }
    this.#enter(this.#requesting());
  }

  /** The back-off doubles with each stream that failed in a row, and differs between verifiers. */
  #pausing(failures: number): State {
    const { retryMs, jitter } = this.#options;
    const backOffMs = Math.min(retryMs.max, retryMs.first * 2 ** failures);
    return this.#timed({ name: "pausing", ms: backOffMs * (0.5 + 0.5 * jitter()), onTime: () => this.#open() });
  }

  /** The clocks are read before the request is sent (docs/protocol/revocation.md#r1). */
  #requesting(): State {
    const { clocks, patienceMs } = this.#options;
    this.#nonce += 1n;
    const request = { nonce: this.#nonce, since: readMoment(clocks) };
    return this.#timed({
      name: "requesting",
      request,
      ms: patienceMs,
      onEnter: () => this.#stream?.channel.send({ message: { case: "lease", value: { nonce: request.nonce } } }),
      onTime: () => this.#break(new LinkBrokenError(`no lease within ${patienceMs} ms`)),
    });
  }

  #resting(ms: number): State {
    return this.#timed({ name: "resting", ms, onTime: () => this.#requestLease() });
  }

  #timed(state: {
    readonly name: State["name"];
    readonly ms: number;
    readonly onTime: () => void;
    readonly onEnter?: () => void;
    readonly request?: LeaseRequest;
  }): State {
    const { name, ms, onTime, onEnter, request } = state;
    let timer: { cancel(): void } | undefined;
    return {
      name,
      ...(request !== undefined && { request }),
      enter: () => {
        timer = this.#options.timers.after(ms, onTime);
        onEnter?.();
      },
      exit: () => timer?.cancel(),
    };
  }

  #hear(response: SyncResponse | UnreadableAnswer): void {
    if (response instanceof UnreadableAnswer) {
      this.#requests.onUnreadable(response.id, response.cause);
      return;
    }
    const { message } = response;
    if (message.case === "lease") this.#take(message.value);
    else if (message.case === "change") this.#apply(message.value);
    else if (message.case === "answer") this.#requests.onAnswer(message.value);
    else if (message.case === "usage") this.#requests.onReceipt(message.value);
    else if (message.case === "closing") this.#leave();
  }

  /**
   * Accepts the answer to the newest request, once. The first lease of a stream drops the entries that were kept under
   * another (docs/protocol/revocation.md#r5).
   */
  #take(grant: LeaseGrant): void {
    const { nonce, remaining, revision } = grant;
    const { lease, cache, clocks, clockRateError, jitter, patienceMs, onGranted } = this.#options;
    const { request } = this.#state;
    const stream = this.#stream;
    if (stream === undefined || request?.nonce !== nonce) return;
    const grantedMs = remaining === undefined ? 0 : countedHere(durationMs(remaining), clockRateError);
    const termMs = Math.min(MAX_LEASE_MS, grantedMs);
    if (!(termMs > 0)) {
      this.#enter(this.#resting((patienceMs / 3) * (1 + jitter())));
      return;
    }
    const isFirst = stream.attachedMs === undefined;
    if (isFirst) {
      cache.clear();
      stream.attachedMs = clocks.monotonicMs();
      this.attachments += 1;
    }
    this.#revision = Number(revision);
    lease.grant(request.since, termMs);
    onGranted?.(grant, isFirst);
    const renewMs = termMs * RENEW_AFTER * (0.9 + 0.1 * jitter());
    this.#enter(this.#resting(Math.max(MIN_RENEWAL_MS, renewMs)));
  }

  #apply({ sequence, keyIds, allKeys }: Change): void {
    const { cache } = this.#options;
    if (allKeys) cache.clear();
    else cache.apply(keyIds);
    this.#stream?.channel.send({ message: { case: "applied", value: { sequence } } });
  }

  /**
   * The server stops: its lease ends, and a stream to another server is opened at once. If servers stop one after the
   * other, the back-off is that of streams that break.
   */
  #leave(): void {
    this.#giveBack();
    const failures = this.#countFailure();
    this.#drop(new LinkBrokenError("the server is stopping"));
    if (failures === 0) this.#open();
    else this.#enter(this.#pausing(failures - 1));
  }

  #giveBack(): void {
    this.#options.lease.end();
    this.#stream?.channel.send({ message: { case: "giveBack", value: {} } });
  }

  /** The lease runs on, because the server waits for its end. A verifier whose own key is refused stops at once. */
  #break(error: unknown): void {
    if (isRefusal(error)) this.#options.lease.end();
    const failures = this.#countFailure();
    this.#drop(new LinkBrokenError("the stream to the server broke", { cause: error }));
    this.#enter(this.#pausing(failures));
    // Last, because the listener may close the link.
    this.#onBroken(error);
  }

  /** Counts the stream that ends now. Returns how many in a row had failed before it. */
  #countFailure(): number {
    const attachedMs = this.#stream?.attachedMs;
    const isSteady = attachedMs !== undefined && this.#options.clocks.monotonicMs() - attachedMs >= STEADY_MS;
    const before = isSteady ? 0 : this.#failures;
    this.#failures = before + 1;
    return before;
  }

  #drop(error: LinkBrokenError): void {
    this.#stream?.channel.close();
    this.#stream = undefined;
    this.#requests.failAll(error);
  }
}

/** Whether a server has refused the verifier's own key. */
export function isRefusal(error: unknown): error is ConnectError {
  return error instanceof ConnectError && (error.code === Code.Unauthenticated || error.code === Code.PermissionDenied);
}
