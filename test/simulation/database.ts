import type { FoundSecret } from "../../src/keys/cached-secret.ts";
import type { KeyRecord } from "../../src/keys/key.ts";
import type { Holder, LeaseRegistry, Registered, Registrant, Renewed } from "../../src/revocation/lease-registry.ts";
import { fakeFound } from "../../testkit/fakes/fake-found.ts";

/** What the statements of `src/postgres` say, left out; the switches of the rules that live there. */
export interface DatabaseFlaws {
  /** R6: a renewal reads the changes from one snapshot and the revision from a later one. */
  readonly renewalsReadTwice?: boolean;
  /** R12: a revision is taken when a transaction begins, as from a sequence. */
  readonly revisionsBeforeCommit?: boolean;
  /** R13: a renewal writes nothing. */
  readonly renewalsAreReads?: boolean;
  /** R14: a process has the epoch of the one whose place it takes. */
  readonly reusesEpochs?: boolean;
  /** R15: a row is collected whether or not it was renewed since. */
  readonly collectsBlindly?: boolean;
  /** R17: misses read a standby, which lags. */
  readonly readsLag?: boolean;
  /** R19: a new connection is used wherever it leads. */
  readonly readsAnyServer?: boolean;
  /** A registration acknowledges what it has read, however late it arrives. */
  readonly registrationsAcknowledge?: boolean;
  /** Acknowledgements of another timeline count. */
  readonly acksAcrossTimelines?: boolean;
  /** What was obeyed of another timeline counts as obeyed. */
  readonly settlesAcrossTimelines?: boolean;
}

interface KeyState {
  record: KeyRecord;
  retireAt: [number, number];
}

interface SimKey extends KeyState {
  /** What a standby still has, and until when. */
  before?: KeyState & { readonly until: number };
}

const EPOCH_MS = Date.parse("2026-01-01T00:00:00Z");
const NEVER = 1e12;
/** How far a standby is behind, in milliseconds. */
const STANDBY_LAG_MS = 100;

/** Postgres as the statements of `src/postgres` use it: each call is one statement, at one moment, on one snapshot. */
export class Database {
  readonly rows = new Map<string, Holder>();
  revision = 0;
  trimmedRevision = 0;
  timeline = 1;
  readonly #keys = new Map<string, SimKey>();
  #feed: { readonly rev: number; readonly keyId: string }[] = [];

  #lastTaken = 0;
  #taken: number | undefined;
  readonly flaws: DatabaseFlaws;
  readonly #now: () => number;

  constructor(keyIds: readonly string[], flaws: DatabaseFlaws, now: () => number) {
    this.flaws = flaws;
    this.#now = now;
    for (const id of keyIds) this.#keys.set(id, { record: fakeFound(id).key, retireAt: [NEVER, NEVER] });
  }

  /** Which server, and which of its timelines. */
  get identity(): string {
    return `db:${this.timeline}`;
  }

  register({ epoch, termMs }: Registrant): Registered {
    const renewSeq = (this.rows.get(epoch)?.renewSeq ?? 0) + 1;
    const ackedRevision = this.flaws.registrationsAcknowledge
      ? this.revision
      : (this.rows.get(epoch)?.ackedRevision ?? 0);
    this.rows.set(epoch, {
      epoch,
      address: "",
      termMs,
      usesRevocationSet: false,
      ackedRevision,
      renewSeq,
      isCollected: false,
    });
    return this.see();
  }

  renew(lease: Parameters<LeaseRegistry["renew"]>[0]): Renewed | undefined {
    const row = this.rows.get(lease.epoch);
    if (row === undefined || row.isCollected) return undefined;
    const isSame = lease.identity === this.identity || this.flaws.acksAcrossTimelines === true;
    const ackedRevision = isSame ? Math.max(row.ackedRevision, lease.ackedRevision) : row.ackedRevision;
    this.rows.set(lease.epoch, { ...row, ackedRevision, renewSeq: row.renewSeq + 1 });
    const keyIds = this.#feed.filter(({ rev }) => rev > lease.appliedRevision).map(({ keyId }) => keyId);
    return { ...this.see(), trimmedRevision: this.trimmedRevision, keyIds: [...new Set(keyIds)] };
  }

  list(): Holder[] {
    return [...this.rows.values()];
  }

  leave(epoch: string): void {
    this.rows.delete(epoch);
  }

  collect({ epoch, renewSeq }: Pick<Holder, "epoch" | "renewSeq">): boolean {
    const row = this.rows.get(epoch);
    const isRenewed = row?.renewSeq !== renewSeq && this.flaws.collectsBlindly !== true;
    if (row === undefined || isRenewed || row.isCollected) return false;
    this.rows.set(epoch, { ...row, isCollected: true });
    return true;
  }

  find(keyId: string, version: number): FoundSecret {
    const now = this.#now();
    const key = this.#key(keyId);
    const isBehind = this.flaws.readsLag === true && key.before !== undefined && now < key.before.until;
    const { record, retireAt } = isBehind && key.before !== undefined ? key.before : key;
    const retires = retireAt[version - 1] ?? NEVER;
    const retireTime = retires === NEVER ? null : new Date(EPOCH_MS + retires);
    const found = fakeFound(keyId, { key: record, secret: { version, retireTime }, revision: this.revision });
    return { ...found, now: new Date(EPOCH_MS + Math.floor(now)) };
  }

  /** A change of the key, in its transaction. */
  change(keyId: string, change: Partial<KeyRecord>, options: { narrows: boolean; retire?: number }): KeyRecord {
    const key = this.#key(keyId);
    const { record, retireAt } = key;
    key.before = { record, retireAt: [...retireAt], until: this.#now() + STANDBY_LAG_MS };
    const revision = this.#taken ?? this.revision + 1;
    this.revision = Math.max(this.revision, revision);
    this.#feed.push({ rev: revision, keyId });
    if (options.retire !== undefined) key.retireAt[0] = Math.min(key.retireAt[0], options.retire);
    const narrowed = options.narrows ? { narrowedRevision: revision } : {};
    key.record = { ...key.record, ...change, revision, ...narrowed };
    return key.record;
  }

  /** A revision for what is committed later; see `flaws`. */
  takeRevision(): number {
    this.#lastTaken = Math.max(this.#lastTaken, this.revision) + 1;
    return this.#lastTaken;
  }

  committing<T>(taken: number, statement: (database: Database) => T): T {
    this.#taken = taken;
    const result = statement(this);
    this.#taken = undefined;
    return result;
  }

  /** A standby that has everything is promoted; returns the primary that was, which knows nothing of it. */
  failOver(): Database {
    const old = new Database([], this.flaws, this.#now);
    old.revision = this.revision;
    old.trimmedRevision = this.trimmedRevision;
    old.timeline = this.timeline;
    old.#feed = [...this.#feed];
    for (const [epoch, row] of this.rows) old.rows.set(epoch, row);
    for (const [id, { record, retireAt }] of this.#keys) old.#keys.set(id, { record, retireAt: [...retireAt] });
    this.timeline += 1;
    return old;
  }

  read(keyId: string): { readonly record: KeyRecord; readonly retireAt: number } {
    const { record, retireAt } = this.#key(keyId);
    return { record, retireAt: retireAt[0] };
  }

  settle(keyId: string, { revision, identity }: { readonly revision: number; readonly identity: string }): void {
    if (identity !== this.identity && !this.flaws.settlesAcrossTimelines) return;
    const key = this.#key(keyId);
    const settledRevision = Math.max(key.record.settledRevision, revision);
    key.record = { ...key.record, settledRevision };
  }

  trim(): void {
    this.trimmedRevision = this.revision;
    this.#feed = [];
  }

  /** What a backup keeps, and how to go back to it: another timeline, on which revisions are used again. */
  backup(): () => void {
    const kept = {
      ...{ revision: this.revision, trimmed: this.trimmedRevision, feed: [...this.#feed], rows: [...this.rows] },
      keys: [...this.#keys].map(([id, { record, retireAt }]) => [id, { record, retireAt: [...retireAt] }] as const),
    };
    return () => {
      this.revision = kept.revision;
      this.trimmedRevision = kept.trimmed;
      this.#feed = [...kept.feed];
      this.rows.clear();
      for (const [epoch, row] of kept.rows) this.rows.set(epoch, row);
      for (const [id, { record, retireAt }] of kept.keys) {
        this.#keys.set(id, { record, retireAt: [retireAt[0] ?? NEVER, retireAt[1] ?? NEVER] });
      }
      this.timeline += 1;
    };
  }

  #key(keyId: string): SimKey {
    const key = this.#keys.get(keyId);
    if (key === undefined) throw new Error(`there is no key ${keyId}`);
    return key;
  }

  see(): Registered {
    return { revision: this.revision, identity: this.identity, setMarker: "" };
  }
}
