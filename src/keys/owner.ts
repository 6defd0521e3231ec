import { looksLikeSecret } from "./redact.ts";

/** Owners that begin so belong to Claviger itself. */
export const RESERVED_OWNERS = "claviger:";

const MOST_BYTES = 255;

/** Control characters (C0, C1), and characters that show nothing: two owners must not look the same because of them. */
const UNSEEN = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]/u;

/**
 * As above, but for what plain text needs: joiners (Persian, Indic scripts, emoji) and the variation selectors of emoji.
 */
const UNSEEN_IN_TEXT = /[\p{Cc}\p{Zl}\p{Zp}]|(?!\u200c|\u200d|\ufe0e|\ufe0f)[\p{Cf}\p{Default_Ignorable_Code_Point}]/u;

/** Why the text cannot be a new owner of keys; undefined if it can. Reserved owners are another question. */
export function ownerProblem(owner: string): string | undefined {
  // Lone surrogates all become U+FFFD in UTF-8: two subjects would be one owner.
  if (!owner.isWellFormed()) return "must not contain a lone surrogate";
  if (Buffer.byteLength(owner) > MOST_BYTES) return `must be at most ${MOST_BYTES} bytes`;
  if (UNSEEN.test(owner)) return "must not contain control characters or characters that show nothing";
  if (owner.trim() !== owner) return "must not begin or end with white space";
  if (looksLikeSecret(owner)) return "looks like a secret. Name the user or service that the key is for";
  return undefined;
}

/** Whether the owner is reserved, or could be taken for one that is: width, case and composition do not count. */
export function isReservedOwner(owner: string): boolean {
  return owner.normalize("NFKC").toLowerCase().startsWith(RESERVED_OWNERS);
}

/** Why the text cannot be the name of a key; undefined if it can. */
export function displayNameProblem(name: string): string | undefined {
  return UNSEEN_IN_TEXT.test(name) ? "must not contain control characters or characters that show nothing" : undefined;
}

/** Owner of the keys that `claviger canary` makes, unless it is told another. */
export const CANARY_OWNER = "claviger-canary";
