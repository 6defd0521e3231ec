import { Freshness, FreshnessSchema, Verdict, type VerifyResponse } from "#gen/claviger/v1/key_verifier_pb.js";

/** A secret that clients know, and since when what of it must be refused, by this process' clock. */
export interface KnownSecret {
  readonly keyId: string;
  readonly secret: string;
  /** No `VALID` for a call that begins after it. */
  deadFrom: number | undefined;
  /** No `VALID` for a call that asks for the second scope and begins after it. */
  narrowFrom: number | undefined;
}

/** A verification as it began. */
export interface Call {
  readonly node: number;
  readonly began: number;
  /** Whether it asks for the second scope. */
  readonly narrow: boolean;
  /** Narrowing calls that were under way. */
  readonly pending: number;
}

export interface Violation {
  readonly node: number;
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
  readonly barrierMs: number[] = [];
  /** Narrowing calls under way. */
  pending = 0;
  /** Narrowing calls that were under way at some moment since it was last set to 0. */
  overlapped = 0;

  verified(secret: KnownSecret, call: Call, answer: VerifyResponse): void {
    const { node, began, narrow, pending } = call;
    this.counts.verifies += 1;
    if (answer.verdict !== Verdict.VALID) return;
    this.counts.valid += 1;
    if (answer.freshness === Freshness.LEASED && pending > 0) this.counts.leasedWhilePending += 1;
    const freshness = FreshnessSchema.value[answer.freshness]?.name ?? "";
    this.#judge(secret, { node, began, freshness, from: secret.deadFrom, cause: "dead" });
    if (narrow) this.#judge(secret, { node, began, freshness, from: secret.narrowFrom, cause: "scope taken" });
  }

  #judge(
    { keyId }: KnownSecret,
    seen: { node: number; began: number; freshness: string; from: number | undefined; cause: string },
  ): void {
    const { node, began, from, cause, freshness } = seen;
    if (from === undefined || began <= from) return;
    this.violations.push({ node, keyId, cause, lateMs: began - from, freshness });
  }
}
