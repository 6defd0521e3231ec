/**
 * The revocation set as it is kept in one Redis: key id → revision of its last change, beside the set's `marker` and
 * `floor`. Every operation is one command or script, bounded in time, sent at most once, and rejects when its outcome
 * is not known.
 */
export interface RevocationSetStore {
  /**
   * What the set is on this connection; undefined while it is cut off. `connection` counts connections: whatever was
   * learnt on an earlier one is void. `runId` names the server process.
   */
  state(): { readonly connection: number; readonly runId: string } | undefined;
  /** The set's marker, undefined for one that is empty or was lost. */
  readMarker(): Promise<string | undefined>;
  /** Empties the set and begins anew under `marker`, with `floor`; nothing if it has this marker already. */
  initialise(marker: string, floor: number): Promise<void>;
  /** Raises the members of `keyIds` to `revision`; false, and nothing written, unless the set has that marker. */
  write(marker: string, keyIds: readonly string[], revision: number): Promise<boolean>;
  /** Whether the set has that marker and a member of at least `revision`, or a floor of at least that, for each key. */
  holds(marker: string, keyIds: readonly string[], revision: number): Promise<boolean>;
  /** One key's member (0 for none) with marker and floor, in one command. */
  look(
    keyId: string,
  ): Promise<{ readonly marker: string | undefined; readonly floor: number; readonly member: number }>;
  /** Raises the floor, then removes members up to it; nothing unless the set has that marker. */
  trim(marker: string, floor: number): Promise<void>;
  close(): Promise<void>;
}
