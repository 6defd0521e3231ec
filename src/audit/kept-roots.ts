import { createCipheriv, createDecipheriv, hkdfSync } from "node:crypto";
import type { RootKeys } from "../keys/root-secret.ts";
import { keepWrappedRoots, listWrappedRoots, type WrappedRoot } from "../postgres/audit-roots.ts";
import type { Storage } from "../postgres/storage.ts";
import type { Random } from "../system/clocks.ts";

/** The key that checks the events of one root secret. */
export type AuditKey = Pick<RootKeys, "id" | "auditKey">;

/** Audit keys that were kept of root secrets which are no longer configured. */
export interface KeptRoots {
  /** Each was wrapped by a configured root secret, or by one that a configured root secret vouches for. */
  readonly vouched: readonly AuditKey[];
  /** Rows that claim to be wrapped by a known root secret and are not: changed, or inserted by other software. */
  readonly unreadable: number;
}

const ALGORITHM = "aes-256-gcm";
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/**
 * Keeps the audit key of each older root secret, wrapped by every newer one, and reads back those of dropped roots.
 * See docs/decisions/0012-audit-chain.md.
 */
export async function keepAuditRoots(
  storage: Pick<Storage, "read" | "write">,
  { roots, random }: { readonly roots: readonly AuditKey[]; readonly random: Random },
): Promise<KeptRoots> {
  const rows = await storage.read(listWrappedRoots);
  const missing = pairs(roots).filter(({ older, newer }) => !rows.some((row) => isKept(row, { older, newer })));
  if (missing.length > 0) {
    const wrapped = missing.map(({ older, newer }) => wrap(older, newer, random(NONCE_BYTES)));
    await storage.write((database) => keepWrappedRoots(database, wrapped));
  }
  return unwrapChain(rows, roots);
}

interface Pair {
  readonly older: AuditKey;
  readonly newer: AuditKey;
}

function pairs(roots: readonly AuditKey[]): Pair[] {
  return roots.flatMap((older, place) => roots.slice(0, place).map((newer) => ({ older, newer })));
}

function isKept(row: WrappedRoot, { older, newer }: Pair): boolean {
  return row.id === older.id && row.wrappedBy === newer.id && (unwrap(row, newer)?.equals(older.auditKey) ?? false);
}

function unwrapChain(rows: readonly WrappedRoot[], roots: readonly AuditKey[]): KeptRoots {
  const known = new Map(roots.map((root) => [root.id, root]));
  let unreadable = 0;
  // A Map also iterates over entries that are added during the iteration.
  for (const newer of known.values()) {
    for (const row of rows.filter(({ wrappedBy }) => wrappedBy === newer.id)) {
      const auditKey = unwrap(row, newer);
      if (auditKey === undefined) unreadable++;
      else if (!known.has(row.id)) known.set(row.id, { id: row.id, auditKey });
    }
  }
  return { vouched: [...known.values()].slice(roots.length), unreadable };
}

function wrap(older: AuditKey, newer: AuditKey, nonce: Uint8Array): WrappedRoot {
  const names = { id: older.id, wrappedBy: newer.id };
  const cipher = createCipheriv(ALGORITHM, wrappingKey(newer), nonce).setAAD(nameBytes(names));
  const wrapped = Buffer.concat([nonce, cipher.update(older.auditKey), cipher.final(), cipher.getAuthTag()]);
  return { ...names, wrapped };
}

function unwrap(row: WrappedRoot, newer: AuditKey): Buffer | undefined {
  const { wrapped } = row;
  const nonce = wrapped.subarray(0, NONCE_BYTES);
  const text = wrapped.subarray(NONCE_BYTES, -TAG_BYTES);
  try {
    const decipher = createDecipheriv(ALGORITHM, wrappingKey(newer), nonce, { authTagLength: TAG_BYTES })
      .setAAD(nameBytes(row))
      .setAuthTag(wrapped.subarray(-TAG_BYTES));
    return Buffer.concat([decipher.update(text), decipher.final()]);
  } catch {
    return undefined;
  }
}

function wrappingKey(newer: AuditKey): Buffer {
  return Buffer.from(hkdfSync("sha256", newer.auditKey, new Uint8Array(), "claviger/v1/audit-wrap", 32));
}

/** Binds a row to its position, so that it cannot stand in for another row. */
function nameBytes({ id, wrappedBy }: Pick<WrappedRoot, "id" | "wrappedBy">): Buffer {
  return Buffer.from(`${id}:${wrappedBy}`);
}
