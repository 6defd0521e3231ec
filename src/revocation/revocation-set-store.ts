/**
 * The revocation set in one Redis: it maps a key id to the revision of its last change, beside the set's `marker` and
 * `floor`. Every operation is one command or script, has a time-out, is sent at most once, and rejects if its outcome
 * is unknown.
 */
export interface RevocationSetStore {
  /**
   * The present connection; undefined while there is none. `connection` counts connections: results from an earlier
   * connection are void. `runId` names the server process.
   */
  state(): { readonly connection: number; readonly runId: string } | undefined;
  /** The set's marker; undefined if the set is empty or was lost. */
  readMarker(): Promise<string | undefined>;
  /** Empties the set and gives it `marker` and `floor`. Has no effect if the set already has this marker. */
  initialise(marker: string, floor: number): Promise<void>;
  /** Raises the members of `keyIds` to `revision`. Writes nothing and returns false if the set has another marker. */
  write(marker: string, keyIds: readonly string[], revision: number): Promise<boolean>;
  /** Whether the set has that marker, and each key has a member of at least `revision` or is covered by the floor. */
  holds(marker: string, keyIds: readonly string[], revision: number): Promise<boolean>;
  /** Reads the key's member (0 if it has none), the marker and the floor, in one command. */
  look(
    keyId: string,
  ): Promise<{ readonly marker: string | undefined; readonly floor: number; readonly member: number }>;
  /** Raises the floor, then removes members up to it. Has no effect if the set has another marker. */
  trim(marker: string, floor: number): Promise<void>;
  close(): Promise<void>;
}
