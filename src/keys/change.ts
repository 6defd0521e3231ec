/** A committed change to existing keys, in the form in which verifiers receive it. */
export interface Change {
  /** Position in the feed. Revisions follow commit order without gaps. */
  readonly revision: number;
  /** The database of the commit. A restored backup uses revisions again under another identity. */
  readonly identity: string;
  /** `all` if the keys are too many to name: the receiver drops every key. */
  readonly keyIds: readonly string[] | "all";
}

/** States that a verifier and all agents that lease from it have applied exactly this revision, and no other. */
export interface Ack {
  readonly epoch: string;
  readonly revision: number;
  /** The database that the verifier works with. */
  readonly identity: string;
  /** Agents that did not acknowledge: the verifier waited until their lease had ended. Default 0. */
  readonly waitedOutAgents?: number;
}

/** Keys that one message names at most. A change of more keys is `all`. */
export const MAX_NAMED_KEYS = 1000;
