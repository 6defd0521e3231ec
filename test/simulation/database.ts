import type { FoundSecret } from "../../src/keys/found-secret.ts";
import type { KeyRecord } from "../../src/keys/key.ts";
import type { Holder, LeaseRegistry, Registered, Registrant, Renewed } from "../../src/revocation/lease-registry.ts";
import { fakeFound } from "../../src/verify/fake-found.ts";

/** What the statements say, left out. */
export interface DatabaseFlaws {
  /** A registration acknowledges what it has read, however late it arrives. */
  readonly registrationsAcknowledge?: boolean;
  /** Acknowledgements of another timeline count. */
  readonly acksAcrossTimelines?: boolean;
}

interface SimKey {
  record: KeyRecord;
  retireAt: [number, number];
}

const EPOCH_MS = Date.parse("2026-01-01T00:00:00Z");
const NEVER = 1e12;

/** Postgres as the statements of `src/postgres` use it: each call is one statement, at one moment, on one snapshot. */
export class Database {
  readonly rows = new Map<string, Holder>();
  revision = 0;
  trimmedRevision = 0;
  timeline = 1;
  readonly #keys = new Map<string, SimKey>();
  #feed: { readonly rev: number; readonly keyId: string }[] = [];

  readonly flaws: DatabaseFlaws;

  constructor(keyIds: readonly string[], flaws: DatabaseFlaws) {
    this.flaws = flaws;
    for (const id of keyIds) this.#keys.set(id, { record: fakeFound(id).key, retireAt: [NEVER, NEVER] });
  }

  register({ epoch, termMs, usesRevocationSet }: Registrant): Registered {
    const renewSeq = (this.rows.get(epoch)?.renewSeq ?? 0) + 1;
    const ackedRevision = this.flaws.registrationsAcknowledge
      ? this.revision
      : (this.rows.get(epoch)?.ackedRevision ?? 0);
    this.rows.set(epoch, { epoch, termMs, usesRevocationSet, ackedRevision, renewSeq, isCollected: false });
    return this.#seen();
  }

  renew(lease: Parameters<LeaseRegistry["renew"]>[0]): Renewed | undefined {
    const row = this.rows.get(lease.epoch);
    if (row === undefined || row.isCollected) return undefined;
    const isSame = lease.identity === this.#seen().identity || this.flaws.acksAcrossTimelines === true;
    const ackedRevision = isSame ? Math.max(row.ackedRevision, lease.ackedRevision) : row.ackedRevision;
    this.rows.set(lease.epoch, { ...row, ackedRevision, renewSeq: row.renewSeq + 1 });
    const keyIds = this.#feed.filter(({ rev }) => rev > lease.appliedRevision).map(({ keyId }) => keyId);
    return { ...this.#seen(), trimmedRevision: this.trimmedRevision, keyIds: [...new Set(keyIds)] };
  }

  list(): Holder[] {
    return [...this.rows.values()];
  }

  leave(epoch: string): void {
    this.rows.delete(epoch);
  }

  collect({ epoch, renewSeq }: Pick<Holder, "epoch" | "renewSeq">): boolean {
    const row = this.rows.get(epoch);
    if (row === undefined || row.renewSeq !== renewSeq || row.isCollected) return false;
    this.rows.set(epoch, { ...row, isCollected: true });
    return true;
  }

  find(keyId: string, version: number, now: number): FoundSecret {
    const { record, retireAt } = this.#key(keyId);
    const retires = retireAt[version - 1] ?? NEVER;
    const retireTime = retires === NEVER ? null : new Date(EPOCH_MS + retires);
    const found = fakeFound(keyId, { key: record, secret: { version, retireTime }, revision: this.revision });
    return { ...found, now: new Date(EPOCH_MS + Math.floor(now)) };
  }

  /** A change of the key, in its transaction. */
  change(keyId: string, change: Partial<KeyRecord>, options: { narrows: boolean; retire?: number }): KeyRecord {
    const key = this.#key(keyId);
    this.revision += 1;
    const revision = this.revision;
    this.#feed.push({ rev: revision, keyId });
    if (options.retire !== undefined) key.retireAt[0] = Math.min(key.retireAt[0], options.retire);
    const narrowed = options.narrows ? { narrowedRevision: revision } : {};
    key.record = { ...key.record, ...change, revision, ...narrowed };
    return key.record;
  }

  read(keyId: string): { readonly record: KeyRecord; readonly retireAt: number } {
    const { record, retireAt } = this.#key(keyId);
    return { record, retireAt: retireAt[0] };
  }

  settle(keyId: string, revision: number): void {
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

  #seen(): Registered {
    return { revision: this.revision, identity: `db:${this.timeline}`, setMarker: "" };
  }
}
