import type { KeyRecord, SecretRecord } from "./key.ts";

/** What a presented secret's digest leads to, with the time and revision that the reading statement saw. */
export interface FoundSecret {
  readonly key: KeyRecord;
  readonly secret: SecretRecord;
  /** The database's time. */
  readonly now: Date;
  readonly revision: number;
}
