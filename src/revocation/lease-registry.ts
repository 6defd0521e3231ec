/** A verifier as the registry has it. */
export interface Holder {
  readonly epoch: string;
  /** Where it serves, for people. */
  readonly address: string;
  /** Its lease term D, in milliseconds. */
  readonly termMs: number;
  /** It has applied every change up to here. */
  readonly ackedRevision: number;
  /** Counts its registrations and renewals. */
  readonly renewSeq: number;
  /** Whether it answers from the revocation set while the database is away. */
  readonly usesRevocationSet: boolean;
  /** Whether its lease was given up for lost. It may still answer from the revocation set. */
  readonly isCollected: boolean;
}

/** What a verifier asks to be registered as. */
export interface Registrant {
  /** A new one for each process start (docs/protocol/revocation.md#r14). */
  readonly epoch: string;
  readonly termMs: number;
  readonly usesRevocationSet: boolean;
}

/** What a registration saw, all from one snapshot. */
export interface Registered {
  /** The last revision. */
  readonly revision: number;
  /** Which database this is: the cluster, the server and its timeline. Another one is another register. */
  readonly identity: string;
  /** The marker of the revocation set that is valid; empty before the first. */
  readonly setMarker: string;
}

/** What a renewal saw, all from one snapshot. */
export interface Renewed extends Registered {
  /** Changes up to here may be gone from the feed. */
  readonly trimmedRevision: number;
  /** The keys of every change beyond what the verifier had applied. */
  readonly keyIds: readonly string[] | "all";
}

/** Where leases are kept: Postgres, or a simulation of it. Every call rejects unless its outcome is known. */
export interface LeaseRegistry {
  /** Acknowledges nothing; the renewal that follows does. */
  register(registrant: Registrant): Promise<Registered>;
  /**
   * Raises the row's `renewSeq`, and its `ackedRevision` if the database still is the one of that identity: revisions of
   * a restored backup are other ones. Undefined if there is no such row, or it was collected.
   */
  renew(lease: {
    readonly epoch: string;
    readonly identity: string;
    readonly appliedRevision: number;
    readonly ackedRevision: number;
  }): Promise<Renewed | undefined>;
  /** Removes the verifier's own row. */
  leave(epoch: string): Promise<void>;
  /** Every row, as committed before the call or later. */
  list(): Promise<readonly Holder[]>;
  /** Gives the holder up, if it has not renewed since; returns whether it did. */
  collect(holder: Pick<Holder, "epoch" | "renewSeq">): Promise<boolean>;
  /** Cuts off what is under way, whose answers then count as unknown. */
  reconnect(): void;
}
