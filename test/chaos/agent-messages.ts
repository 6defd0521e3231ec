import type { Verdict } from "#gen/claviger/v1/key_verifier_pb.js";

/** How an agent is started. */
export interface AgentSettings {
  readonly agent: number;
  readonly urls: readonly string[];
  readonly token: string;
  readonly leaseMs: number;
}

/** What an agent is told: secrets to verify from now on, those that are being revoked, and those to forget. */
export interface Order {
  readonly learn?: { readonly keyId: string; readonly secret: string };
  readonly fade?: string;
  readonly forget?: string;
}

/** A verification, by the host's clock. */
export interface Answered {
  /** From 1, one after the other within an agent. */
  readonly op: number;
  readonly keyId: string;
  readonly invoked: number;
  readonly returned: number;
  /** Undefined if it could not be decided. */
  readonly verdict: Verdict | undefined;
  readonly fromMemory: boolean;
  /** Whether it asked for the second scope. */
  readonly narrow: boolean;
}

/** What an agent tells, a few times a second. */
export interface Report {
  readonly answered: readonly Answered[];
  /** Whether it may answer from memory. */
  readonly fresh: boolean;
  /** Times that it had a lease again after it had lost its stream. */
  readonly reattachments: number;
}
