import type { Answer, UsageReceipt } from "#gen/claviger/v1/key_verifier_pb.js";
import type { Clocks, Timers } from "../../system/clocks.ts";
import { unreadable } from "./wire.ts";

interface Pending<Value> {
  readonly sentMs: number;
  readonly resolve: (value: Value) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Limit on late answers that a stream may owe while more questions are asked on it: a server refuses the 129th open
 * question of a stream at once.
 */
const MAX_LATE = 20;

/** The stream broke before the answer came, or there was none. */
export class LinkBrokenError extends Error {
  override readonly name = "LinkBrokenError";
}

/** The questions and the report that were sent on a stream and have no answer yet. */
export class PendingRequests {
  readonly #clocks: Pick<Clocks, "monotonicMs">;
  readonly #timers: Timers;
  /** By id, in the order in which they were asked. */
  readonly #questions = new Map<bigint, Pending<Answer>>();
  /** When each question was asked that has timed out and whose answer has not come yet. */
  readonly #late = new Map<bigint, number>();
  #report: Pending<UsageReceipt> | undefined;
  #lastId = 0n;

  constructor(clocks: Pick<Clocks, "monotonicMs">, timers: Timers) {
    this.#clocks = clocks;
    this.#timers = timers;
  }

  /** Whether the server owes so many late answers that it gets no further questions. */
  get hasTooManyLate(): boolean {
    return this.#late.size >= MAX_LATE;
  }

  /** Adds a question. `answer` rejects with `LinkBrokenError` after `withinMs`. */
  ask(withinMs: number): { readonly id: bigint; readonly answer: Promise<Answer> } {
    this.#lastId += 1n;
    const id = this.#lastId;
    const { promise, resolve, reject } = Promise.withResolvers<Answer>();
    const sentMs = this.#clocks.monotonicMs();
    const timer = this.#timers.after(withinMs, () => {
      this.#questions.delete(id);
      this.#late.set(id, sentMs);
      reject(new LinkBrokenError(`no answer within ${Math.round(withinMs)} ms`));
    });
    this.#questions.set(id, { sentMs, resolve, reject });
    return { id, answer: promise.finally(() => timer.cancel()) };
  }

  /** Adds the report; there is one at a time. */
  report(): Promise<UsageReceipt> {
    const { promise, resolve, reject } = Promise.withResolvers<UsageReceipt>();
    this.#report = { sentMs: this.#clocks.monotonicMs(), resolve, reject };
    return promise;
  }

  /** Settles the question that is answered; a late answer is dropped. */
  onAnswer(answer: Answer): void {
    this.#take(answer.id)?.resolve(answer);
  }

  /** Fails the question whose answer does not decode. */
  onUnreadable(id: bigint, cause: unknown): void {
    this.#take(id)?.reject(unreadable("it does not decode", cause));
  }

  onReceipt(receipt: UsageReceipt): void {
    this.#report?.resolve(receipt);
    this.#report = undefined;
  }

  /** How long the oldest question or report has been without an answer, in milliseconds. */
  silentMs(): number {
    const [question] = this.#questions.values();
    const [late] = this.#late.values();
    const nowMs = this.#clocks.monotonicMs();
    return nowMs - Math.min(question?.sentMs ?? nowMs, late ?? nowMs, this.#report?.sentMs ?? nowMs);
  }

  /** Fails everything that is pending, since the stream is gone. */
  failAll(error: LinkBrokenError): void {
    const questions = [...this.#questions.values()];
    this.#questions.clear();
    this.#late.clear();
    for (const { reject } of questions) reject(error);
    this.#report?.reject(error);
    this.#report = undefined;
  }

  #take(id: bigint): Pending<Answer> | undefined {
    const question = this.#questions.get(id);
    this.#questions.delete(id);
    this.#late.delete(id);
    return question;
  }
}
