import { Freshness, FreshnessSchema, Verdict, type VerifyResponse } from "#gen/claviger/v1/key_verifier_pb.js";
import type { Answered } from "./agent-messages.ts";
import { hostMs } from "./host-clock.ts";

/** A secret that clients know, and since when what of it must be refused, by the host's clock. */
export interface CachedSecret {
  readonly keyId: string;
  readonly secret: string;
  /** No `VALID` for a call that begins after it. */
  deadFrom: number | undefined;
  /** No `VALID` for a call that asks for the second scope and begins after it. */
  narrowFrom: number | undefined;
  /** When which agent answered `VALID` from memory last. */
  readonly holders: Map<number, number>;
}

/** A verification as it began. */
export interface Call {
  /** Who decided it: a node or an agent. */
  readonly by: string;
  readonly began: number;
  /** Whether it asks for the second scope. */
  readonly narrow: boolean;
}

export interface Violation {
  readonly by: string;
  readonly keyId: string;
  readonly cause: string;
  /** Milliseconds between the answer to the narrowing call and the beginning of the verification. */
  readonly lateMs: number;
  readonly freshness: string;
}

/** What the clients saw, judged as it comes: P1 is an exact comparison of moments of one clock. */
export class History {
  readonly violations: Violation[] = [];
  readonly counts = {
    verifies: 0,
    witnessed: 0,
    valid: 0,
    leasedWhilePending: 0,
    undecided: 0,
    narrowed: 0,
    acked: 0,
    waited: 0,
  };
  /** What agents answered: at all, from memory, and how revocations of what they had in memory ended. */
  readonly agents = {
    verifies: 0,
    fromMemory: 0,
    validFromMemory: 0,
    validFromMemoryWhilePending: 0,
    undecided: 0,
    acked: 0,
    waitedForStopped: 0,
    reattachments: 0,
  };
  readonly barrierMs: number[] = [];
  /** Narrowing calls that were under way at some moment since it was last set to 0. */
  overlapped = 0;
  #pending = 0;
  /** How many there were from which moment on, newest last. */
  readonly #timeline: { readonly from: number; readonly pending: number }[] = [];

  /** Narrowing calls under way. */
  get pending(): number {
    return this.#pending;
  }

  /** A narrowing call begins. */
  began(): void {
    this.overlapped += 1;
    this.#note(1);
  }

  /** It has ended, one way or another. */
  ended(): void {
    this.#note(-1);
  }

  verified(secret: CachedSecret, call: Call, answer: Pick<VerifyResponse, "verdict" | "freshness">): void {
    this.counts.verifies += 1;
    if (answer.verdict !== Verdict.VALID) return;
    this.counts.valid += 1;
    if (answer.freshness === Freshness.LEASED && this.#pendingAt(call.began) > 0) this.counts.leasedWhilePending += 1;
    this.#judge(secret, call, answer.freshness);
  }

  /** The same of a verification inside an agent, as it says. */
  answered(secret: CachedSecret, agent: number, { invoked, verdict, fromMemory, narrow }: Answered): void {
    const { agents } = this;
    agents.verifies += 1;
    if (fromMemory) agents.fromMemory += 1;
    if (verdict !== Verdict.VALID) return;
    if (fromMemory) {
      agents.validFromMemory += 1;
      if (this.#pendingAt(invoked) > 0) agents.validFromMemoryWhilePending += 1;
      secret.holders.set(agent, invoked);
    }
    const freshness = fromMemory ? Freshness.LEASED : Freshness.UNSPECIFIED;
    this.#judge(secret, { by: `agent ${agent}`, began: invoked, narrow }, freshness);
  }

  #judge({ keyId, deadFrom, narrowFrom }: CachedSecret, { by, began, narrow }: Call, freshness: Freshness): void {
    const name = FreshnessSchema.value[freshness]?.name ?? "";
    const judge = (from: number | undefined, cause: string) => {
      if (from === undefined || began <= from) return;
      this.violations.push({ by, keyId, cause, lateMs: began - from, freshness: name });
    };
    judge(deadFrom, "dead");
    if (narrow) judge(narrowFrom, "scope taken");
  }

  #note(change: number): void {
    this.#pending += change;
    this.#timeline.push({ from: hostMs(), pending: this.#pending });
  }

  #pendingAt(moment: number): number {
    return this.#timeline.findLast(({ from }) => from <= moment)?.pending ?? 0;
  }
}
