/** A committed change to existing keys, as verifiers learn of it. */
export interface Change {
  /** Its place in the feed: revisions follow commit order, without gaps. */
  readonly revision: number;
  /** Of the database that it was committed to: a restored backup uses revisions again. */
  readonly identity: string;
  /** `all` where they are too many to name: whoever hears of it drops everything. */
  readonly keyIds: readonly string[] | "all";
}

/** That a verifier, with everybody who leases from it, has applied exactly that revision; it says nothing of others. */
export interface Ack {
  /** The verifier's. */
  readonly epoch: string;
  readonly revision: number;
  /** Of the database that the verifier works with. */
  readonly identity: string;
  /** How many agents did not acknowledge, so that the verifier waited until their lease had ended. Default 0. */
  readonly waitedOutAgents?: number;
}

/** Keys that one message names at most; more are `all`. */
export const MAX_NAMED_KEYS = 1000;
