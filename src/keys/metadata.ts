import { isObject } from "../system/json.ts";
import { looksLikeSecret } from "./secret.ts";

/** Maximum depth of objects and lists in new metadata, the metadata itself included. */
export const MOST_LEVELS = 16;

/**
 * Maximum depth of stored metadata that is shown. Protobuf libraries stop at 100 messages. An object takes three for
 * each level (`Struct`, its map entry, `Value`), and an answer on a stream of `Sync` adds four.
 */
const SHOWN_LEVELS = 30;

/** Why metadata cannot be stored; undefined if it can. */
export function metadataProblem(metadata: unknown): string | undefined {
  return problemOf(metadata, MOST_LEVELS, storableProblem);
}

/**
 * Whether stored metadata can be sent. Older servers accepted more than clients can read, and rows may be written by
 * hand.
 */
export function isShowable(metadata: unknown): boolean {
  return isObject(metadata) && problemOf(metadata, SHOWN_LEVELS, textProblem) === undefined;
}

type TextRule = (text: string) => string | undefined;

/** Describes the first problem without quoting the metadata. */
function problemOf(value: unknown, levels: number, rule: TextRule): string | undefined {
  if (value === null || typeof value === "boolean") return undefined;
  if (typeof value === "string") return rule(value);
  if (typeof value === "number") return Number.isFinite(value) ? undefined : "must hold finite numbers only";
  if (typeof value !== "object") return "must be JSON";
  if (levels === 0) return `must have at most ${MOST_LEVELS} levels of objects and lists`;
  const names = Array.isArray(value) ? [] : Object.keys(value);
  for (const name of names) {
    const problem = rule(name);
    if (problem !== undefined) return problem;
  }
  for (const inner of Object.values(value)) {
    const problem = problemOf(inner, levels - 1, rule);
    if (problem !== undefined) return problem;
  }
  return undefined;
}

/** UTF-8, and therefore protobuf, has no lone surrogates. */
function textProblem(text: string): string | undefined {
  return text.isWellFormed() ? undefined : "must not contain a lone surrogate";
}

/** Postgres cannot store U+0000. */
function storableProblem(text: string): string | undefined {
  if (text.includes("\0")) return "must not contain the character U+0000";
  if (looksLikeSecret(text)) return "must not contain what looks like a secret; remove it, and revoke it if it is live";
  return textProblem(text);
}
