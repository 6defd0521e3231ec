import type { KeyRecord, KeyView } from "../../keys/key.ts";
import { changeKeys, type KeyChange } from "../../postgres/keys.ts";
import { Ending, type Statement } from "../../postgres/statements.ts";
import type { Database } from "../../postgres/storage.ts";
import type { DatabaseMoment } from "../../postgres/time.ts";
import type { CommitFacts } from "../../revocation/revocation-fallback.ts";
import { viewSecrets } from "./view.ts";

/** A change, and the part of it that all verifiers must obey before the answer. */
export interface Change {
  readonly change: KeyChange;
  /** Whether the change takes validity away now or soon. */
  readonly narrows: boolean;
  /** Statements that go before it, in the same round trip. */
  readonly before: readonly Statement<unknown>[];
}

/** A key after a change, and the database that the change was committed to. */
export interface Changed extends KeyView, DatabaseMoment, CommitFacts {}

/**
 * The last step of every change to a key, for `Storage.transaction` to send with the COMMIT: all other changes wait from
 * here for it.
 */
export function writeChange(
  transaction: Database,
  held: DatabaseMoment & { readonly key: KeyRecord },
  { change, narrows, before }: Change,
): Ending<Changed> {
  const { key, now, identity } = held;
  const shown = viewSecrets(transaction, key, now);
  const written = changeKeys(transaction, { ids: [key.id], change, updateTime: now, narrows });
  return Ending.of(before, [shown, written], ([secrets, [changed]]) => {
    if (changed === undefined) throw new Error(`key ${key.id} was held and is gone`);
    return { ...changed, secrets, now, identity };
  });
}
