import { looksLikeSecret } from "./secret.ts";

/** Prefix of the owners that belong to Claviger itself. */
export const RESERVED_OWNERS = "claviger:";

const MOST_BYTES = 255;

/** Control characters (C0, C1) and invisible characters. With them, two different owners could look the same. */
const UNSEEN = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]/u;

/**
 * The same set without the characters that plain text needs: joiners (Persian, Indic scripts, emoji) and the variation
 * selectors of emoji.
 */
const UNSEEN_IN_TEXT = /[\p{Cc}\p{Zl}\p{Zp}]|(?!\u200c|\u200d|\ufe0e|\ufe0f)[\p{Cf}\p{Default_Ignorable_Code_Point}]/u;

/** Why the text cannot be a new owner of keys; undefined if it can. Does not check for reserved owners. */
export function ownerProblem(owner: string): string | undefined {
  // UTF-8 turns every lone surrogate into U+FFFD: two subjects would become one owner.
  if (!owner.isWellFormed()) return "must not contain a lone surrogate";
  if (Buffer.byteLength(owner) > MOST_BYTES) return `must be at most ${MOST_BYTES} bytes`;
  if (UNSEEN.test(owner)) return "must not contain control characters or characters that show nothing";
  if (owner.trim() !== owner) return "must not begin or end with white space";
  if (looksLikeSecret(owner)) return "looks like a secret. Name the user or service that the key is for";
  return undefined;
}

/** Whether the owner is reserved, or looks like a reserved one. Ignores width, case and composition. */
export function isReservedOwner(owner: string): boolean {
  return owner.normalize("NFKC").toLowerCase().startsWith(RESERVED_OWNERS);
}

/** Why the text cannot be the name of a key; undefined if it can. */
export function displayNameProblem(name: string): string | undefined {
  return UNSEEN_IN_TEXT.test(name) ? "must not contain control characters or characters that show nothing" : undefined;
}

/** Default owner of the keys that `claviger canary` creates. */
export const CANARY_OWNER = "claviger-canary";
