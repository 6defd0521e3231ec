import type { FoundKey } from "../../keys/cached-secret.ts";
import type { JsonObject } from "../../keys/key.ts";
import { isShowable } from "../../keys/metadata.ts";
import { FIRST_TIME_MS, LAST_TIME_MS } from "../../system/clocks.ts";

/** Called with each key whose metadata is left out of the answer. */
export type OnLeftOut = (keyId: string) => void;

/** The parts of a key that vary in form. Each can be encoded, and any client can read it. */
export interface ShownKey {
  readonly scopes: string[];
  readonly labels: Record<string, string>;
  readonly metadata: JsonObject | undefined;
}

/**
 * The shown form of a stored key. The database may hold values that requests are refused with today, from an older
 * server or from an operator's SQL. They are left out, so that one row never costs a list, a batch or a stream the
 * others.
 */
export function shownKey({ id, scopes, labels, metadata }: FoundKey, onLeftOut: OnLeftOut): ShownKey {
  const isLeftOut = metadata !== null && !isShowable(metadata);
  if (isLeftOut) onLeftOut(id);
  return {
    scopes: scopes.filter(isText),
    labels: Object.fromEntries(Object.entries(labels).filter(([, value]) => isText(value))),
    metadata: metadata === null || isLeftOut ? undefined : metadata,
  };
}

/**
 * Milliseconds since 1970 that a timestamp can hold: the nearest to the stored time, or the last for a value that is
 * not a time.
 */
export function shownMs(time: Date): number {
  const ms = time.getTime();
  return Number.isNaN(ms) ? LAST_TIME_MS : Math.min(Math.max(ms, FIRST_TIME_MS), LAST_TIME_MS);
}

/** Keys that are remembered to have been warned of. */
const MOST_WARNED = 1000;

/** Says of each key once that its metadata is left out. */
export function createLeftOutWarning(warn: (about: object, message: string) => void): OnLeftOut {
  const warned = new Set<string>();
  return (keyId) => {
    if (warned.has(keyId) || warned.size >= MOST_WARNED) return;
    warned.add(keyId);
    warn(
      { event: "metadata.left_out", keyId },
      "the metadata of a key cannot be read by clients and is left out; replace it with UpdateKey",
    );
  };
}

function isText(value: unknown): value is string {
  return typeof value === "string" && value.isWellFormed();
}
