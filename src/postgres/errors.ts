import { DrizzleQueryError } from "drizzle-orm";
import { ClavigerError } from "../keys/errors.ts";

/** Two transactions wanted each other's locks, or a replayed one may do better. The work was undone as a whole. */
const RETRYABLE = new Set(["40001", "40P01"]);

// SQLSTATE classes 08 (connection), 40 (rolled back) and 53 (resources); then timeouts, shutdown, a demoted primary.
const AWAY_CLASSES = ["08", "40", "53"];
const AWAY_CODES = new Set([
  ...["25006", "25P03", "55P03", "57014", "57P01", "57P02", "57P03", "57P04", "57P05"],
  ...["ECONNREFUSED", "ECONNRESET", "EPIPE", "ENOENT", "ENOTFOUND", "EAI_AGAIN", "ETIMEDOUT", "EHOSTUNREACH"],
  ...["ENETUNREACH", "ECONNABORTED"],
]);

// node-postgres gives these no code.
const AWAY_MESSAGES =
  /^(Connection terminated|timeout exceeded when trying to connect|Client has encountered a connection error|Client was closed|Cannot use a pool after calling end|Query read timeout)/;

/** Whether running the transaction again may succeed at once. */
export function isRetryable(error: unknown): boolean {
  return RETRYABLE.has(codeOf(error) ?? "");
}

/** Whether the database did not answer, as opposed to having refused. */
export function isAway(error: unknown): boolean {
  const cause = rootCause(error);
  if (cause instanceof Error && AWAY_MESSAGES.test(cause.message)) return true;
  const code = codeOf(cause);
  return code !== undefined && (AWAY_CODES.has(code) || (code.length === 5 && AWAY_CLASSES.includes(code.slice(0, 2))));
}

/** What a row meets whose partition is attached while it waits: not the row's fault. */
const WRONG_PARTITION = "23514";

/**
 * SQLSTATE of an error that the data itself is to blame for, and that would come again; undefined for any other. Classes
 * 22 (data), 23 (constraints) and 54 (too large for an index, too deep).
 */
export function dataErrorCode(error: unknown): string | undefined {
  const code = codeOf(error);
  return code !== undefined && /^(22|23|54)...$/.test(code) && code !== WRONG_PARTITION ? code : undefined;
}

/**
 * What leaves this room instead of a driver's error: `STORAGE_UNAVAILABLE` when the database is away, anything else
 * without Drizzle's message, which contains every parameter.
 */
export function translateError(error: unknown): Error {
  if (error instanceof ClavigerError) return error;
  const cause = rootCause(error);
  if (isAway(cause)) return storageUnavailable(cause);
  return cause instanceof Error ? cause : new Error("storage failed", { cause });
}

/** The database did not answer. A change that was under way may or may not have been made. */
export function storageUnavailable(cause: unknown): ClavigerError {
  return new ClavigerError("STORAGE_UNAVAILABLE", "storage does not answer. Retry in a moment", { cause });
}

function rootCause(error: unknown): unknown {
  return error instanceof DrizzleQueryError ? rootCause(error.cause) : error;
}

function codeOf(error: unknown): string | undefined {
  const cause = rootCause(error);
  if (typeof cause !== "object" || cause === null || !("code" in cause)) return undefined;
  return typeof cause.code === "string" ? cause.code : undefined;
}
