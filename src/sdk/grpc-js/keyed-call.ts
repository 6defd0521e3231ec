import {
  type InterceptingListener,
  type InterceptorOptions,
  Metadata,
  type NextCall,
  type StatusObject,
  status,
} from "@grpc/grpc-js";
import { LONGEST_TIMER_MS } from "../../system/clocks.ts";
import { systemClocks, systemTimers } from "../../system/node.ts";
import type { AttachedKey, CallKey } from "../attach/attached-key.ts";
import { SECRET_RETIRES } from "../attach/retirement.ts";

/** A call of grpc-js, in the form that interceptors get. */
type Call = ReturnType<NextCall>;
type Listener = Partial<InterceptingListener>;

export interface Attempts {
  readonly callOptions: InterceptorOptions;
  /** Makes another call of the same method and options. */
  readonly nextCall: NextCall;
}

/**
 * A call that is sent with a key, and once more with another secret if it is refused before it is answered.
 *
 * The client's actions are recorded and replayed on each attempt, on the first as soon as the secret is known. An attempt
 * is created only when it can start: grpc-js 1.14 reports nothing of an attempt that ends before its start, by its deadline
 * or a cancellation.
 */
export class KeyedCall implements Call {
  readonly #key: AttachedKey;
  readonly #attempts: Attempts;
  #attempt: Call | undefined;
  #listener: Listener = {};
  /** Whether the client's actions are recorded: while a second attempt is possible. */
  #keep: boolean;
  #actions: ((attempt: Call) => void)[] = [];
  /** True between the start and the first attempt, and between two attempts. */
  #isWaiting = true;
  #isOver = false;

  constructor(key: AttachedKey, attempts: Attempts) {
    this.#key = key;
    this.#attempts = attempts;
    this.#keep = !attempts.callOptions.method_definition.requestStream;
  }

  start(metadata: Metadata, listener: Listener = {}): void {
    this.#listener = listener;
    if (metadata.get("authorization").length > 0) this.#sendAsIs(metadata);
    else void this.#sendWithKey(metadata);
  }

  sendMessageWithContext(...message: Parameters<Call["sendMessageWithContext"]>): void {
    this.#do((attempt) => attempt.sendMessageWithContext(...message));
  }

  sendMessage(...message: Parameters<Call["sendMessage"]>): void {
    this.#do((attempt) => attempt.sendMessage(...message));
  }

  startRead(): void {
    this.#do((attempt) => attempt.startRead());
  }

  halfClose(): void {
    this.#do((attempt) => attempt.halfClose());
  }

  cancelWithStatus(code: status, details: string): void {
    if (this.#isWaiting) this.#fail(code, details);
    else this.#attempt?.cancelWithStatus(code, details);
  }

  getPeer(): string {
    return this.#attempt?.getPeer() ?? "unknown";
  }

  getAuthContext(): ReturnType<Call["getAuthContext"]> {
    return this.#attempt?.getAuthContext() ?? null;
  }

  #do(action: (attempt: Call) => void): void {
    if (this.#isWaiting || this.#keep) this.#actions.push(action);
    if (!this.#isWaiting && this.#attempt !== undefined) action(this.#attempt);
  }

  #sendAsIs(metadata: Metadata): void {
    this.#keep = false;
    this.#send(metadata, this.#listener);
  }

  async #sendWithKey(metadata: Metadata): Promise<void> {
    try {
      const key = await this.#wait(this.#keep ? this.#key.forRepeatable() : this.#key.forUnrepeatable());
      this.#tryWith(key, metadata);
    } catch (error) {
      this.#fail(status.UNAVAILABLE, error instanceof Error ? error.message : "the key source gave no secret");
    }
  }

  #tryWith(key: CallKey, metadata: Metadata): void {
    if (this.#isOver) return;
    const withKey = metadata.clone();
    withKey.set("authorization", key.authorization);
    let inHeaders: string | undefined;
    this.#send(withKey, {
      onReceiveMetadata: (headers) => {
        inHeaders = retirementIn(headers);
        this.#listener.onReceiveMetadata?.(headers);
      },
      onReceiveMessage: (message) => {
        // Null means that a refused call has no answer, which a second attempt may change.
        if (message === null) return;
        key.spend();
        this.#keep = false;
        this.#actions = [];
        this.#listener.onReceiveMessage?.(message);
      },
      onReceiveStatus: (end) => {
        if (end.code === status.UNAUTHENTICATED) return void this.#tryAgain(key, { metadata, end });
        key.answered(retirementIn(end.metadata) ?? inHeaders);
        this.#end(end);
      },
    });
  }

  async #tryAgain(
    key: CallKey,
    { metadata, end }: { readonly metadata: Metadata; readonly end: StatusObject },
  ): Promise<void> {
    this.#isWaiting = true;
    try {
      if (await this.#wait(key.renew())) this.#tryWith(key, metadata);
      else this.#end(end);
    } catch {
      // The second attempt cannot begin, for example on a closed client: the call ends as its first attempt.
      this.#end(end);
    }
  }

  #send(metadata: Metadata, listener: Listener): void {
    const { nextCall, callOptions } = this.#attempts;
    const attempt = nextCall(callOptions);
    this.#attempt = attempt;
    this.#isWaiting = false;
    attempt.start(metadata, listener);
    for (const action of this.#actions) action(attempt);
    if (!this.#keep) this.#actions = [];
  }

  /** The value of the promise; the call ends if its deadline passes meanwhile. */
  async #wait<Value>(promise: Promise<Value>): Promise<Value> {
    const ms = Number(this.#attempts.callOptions.deadline ?? Number.POSITIVE_INFINITY) - systemClocks.wallMs();
    const expire = () => this.#fail(status.DEADLINE_EXCEEDED, "Deadline exceeded while the key was being read");
    const timer = ms < LONGEST_TIMER_MS ? systemTimers.after(Math.max(0, ms), expire) : undefined;
    try {
      return await promise;
    } finally {
      timer?.cancel();
    }
  }

  #fail(code: status, details: string): void {
    this.#end({ code, details, metadata: new Metadata() });
  }

  /** In a separate turn, as in grpc-js, so that an error of the client's listener does not reach the attempt. */
  #end(end: StatusObject): void {
    if (this.#isOver) return;
    this.#isOver = true;
    process.nextTick(() => this.#listener.onReceiveStatus?.(end));
  }
}

function retirementIn(metadata: Metadata): string | undefined {
  return metadata.get(SECRET_RETIRES)[0]?.toString();
}
