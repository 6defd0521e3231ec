/** A row of the registry. */
export interface Holder {
  readonly epoch: string;
  /** The address that it serves on, for operators. */
  readonly address: string;
  /** Its lease term D, in milliseconds. */
  readonly termMs: number;
  /** The verifier and its agents have applied every change up to this revision. */
  readonly ackedRevision: number;
  /** The number of its registrations and renewals. */
  readonly renewSeq: number;
  /** Whether it answers from the revocation set while the database is away. */
  readonly usesRevocationSet: boolean;
  /** Whether a collector has given up its lease. The verifier may still answer from the revocation set. */
  readonly isCollected: boolean;
}

/** The data of a registration. */
export interface Registrant {
  /** Each process start has a new epoch (docs/protocol/revocation.md#r14). */
  readonly epoch: string;
  readonly termMs: number;
}

/** The answer to a registration, read from one snapshot. */
export interface Registered {
  /** The last revision. */
  readonly revision: number;
  /** Names the database: its cluster, its server and its timeline. Revisions of another identity are other changes. */
  readonly identity: string;
  /** The marker of the valid revocation set; empty before the first set. */
  readonly setMarker: string;
}

/** The answer to a renewal, read from one snapshot (docs/protocol/revocation.md#r6). */
export interface Renewed extends Registered {
  /** Changes up to this revision may have been removed from the feed. */
  readonly trimmedRevision: number;
  /** The keys of every change after the verifier's applied revision. */
  readonly keyIds: readonly string[] | "all";
}

/** Stores leases, in Postgres or in a simulation of it. Every call rejects unless its outcome is known. */
export interface LeaseRegistry {
  /** Writes the row without an acknowledgement. The next renewal acknowledges. */
  register(registrant: Registrant): Promise<Registered>;
  /**
   * Raises the row's `renewSeq`. Raises its `ackedRevision` only if the database still has that identity, because the
   * revisions of a restored backup are other changes. Undefined if the row does not exist, or was collected.
   */
  renew(lease: {
    readonly epoch: string;
    readonly identity: string;
    readonly appliedRevision: number;
    readonly ackedRevision: number;
  }): Promise<Renewed | undefined>;
  /** Removes the verifier's own row. */
  leave(epoch: string): Promise<void>;
  /** Every row. The read begins after the call, so that it sees every earlier commit. */
  list(): Promise<readonly Holder[]>;
  /** Collects the holder unless it has renewed since; returns whether it was collected. */
  collect(holder: Pick<Holder, "epoch" | "renewSeq">): Promise<boolean>;
  /** Drops the connection. The outcomes of running calls are then unknown. */
  reconnect(): void;
}
