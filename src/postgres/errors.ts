import { DrizzleQueryError } from "drizzle-orm";
import { ClavigerError } from "../keys/errors.ts";

/** The advice about a transaction pooler in the wrong place. */
export const POOLER_HINT =
  "Where DATABASE_URL is a transaction pooler, set CLAVIGER_LEASE_DATABASE_URL to a direct connection";

/** Two transactions wanted each other's locks, or a replayed one may do better. The work was undone as a whole. */
const RETRYABLE = new Set(["40001", "40P01"]);

/**
 * SQLSTATE classes that mean "not now", about no statement in particular: 08 connection, 28 login refused, 3D no such
 * database, 40 rolled back, 53 resources, 55 not in the state for it (`allow_connections`, recovery, locks), 57 operator
 * intervention, 58 error of the system, F0 its configuration, XX its data.
 */
const AWAY_CLASSES = new Set(["08", "28", "3D", "40", "53", "55", "57", "58", "F0", "XX"]);
const AWAY_CODES = new Set([
  // The plan of a prepared statement is from before a migration; the retry makes a new one.
  "0A000",
  // The server has become a standby, or ended a transaction that took too long.
  ...["25006", "25P03", "25P04"],
  // A pooler has sent a prepared statement to another connection than its preparation.
  ...["26000", "42P05"],
  // Rights were taken away, or rows are hidden by a policy.
  "42501",
  // Snapshot too old.
  "72000",
]);

/** How a session ends; its code may be of any class: an unknown role in the start-up options is 22023. */
const FATAL = new Set(["FATAL", "PANIC"]);

// node-postgres gives these no code.
const AWAY_MESSAGES =
  /^(Connection terminated|timeout exceeded when trying to connect|timeout expired|Client has encountered a connection error|Client was closed|Cannot use a pool after calling end|Query read timeout|SASL|The server does not support SSL|There was an error establishing an SSL)/;

/** Node's codes of sockets, name look-ups and files; and of certificates. */
const SYSTEM_CODES =
  /^(E(?!RR_)[A-Z0-9_]+|(ERR_(TLS|SSL)|CERT|CRL|SELF_SIGNED|DEPTH_ZERO|UNABLE_TO|INVALID_CA|HOSTNAME)_\w+)$/;

/** Whether running the transaction again may succeed at once. */
export function isRetryable(error: unknown): boolean {
  return RETRYABLE.has(codeOf(error) ?? "");
}

/** Whether the database could not be asked, as opposed to having refused what it was asked. */
export function isAway(error: unknown): boolean {
  const cause = rootCause(error);
  if (!(cause instanceof Error)) return false;
  if (cause instanceof UnfitSession || AWAY_MESSAGES.test(cause.message)) return true;
  if ("severity" in cause && FATAL.has(String(cause.severity))) return true;
  const code = codeOf(cause) ?? "";
  return isSqlState(code) ? AWAY_CLASSES.has(code.slice(0, 2)) || AWAY_CODES.has(code) : SYSTEM_CODES.test(code);
}

/** SQLSTATE classes of faults that an operator must mend: login refused, no such database. */
const LASTING_CLASSES = new Set(["28", "3D"]);
/** Rights; a database that takes no connections; a start-up parameter that a pooler refuses. */
const LASTING_CODES = new Set(["42501", "55000", "08P01"]);
/** Node's codes of a network or a server that is not there now; a name that is unknown (`ENOTFOUND`) is a mistake. */
const PASSING_SYSTEM_CODES = /^E(CONN(REFUSED|RESET|ABORTED)|PIPE|TIMEDOUT|HOSTUNREACH|NETUNREACH|AI_AGAIN)$/;
const PASSING_MESSAGES = /^(Connection terminated|timeout |timed out|Query read timeout)/;
/** PgBouncer (1.18) answers 08P01 too while the Postgres behind it is away, full or starting. */
const PASSING_POOLER_MESSAGES =
  /server login has been failing|cannot connect to server|query_wait_timeout|no more connections allowed|shut(ting)? ?down/;

/** Whether the database may come to be usable by itself: it is starting, failing over, or full of connections. */
export function mayPass(error: unknown): boolean {
  const cause = rootCause(error instanceof ClavigerError ? error.cause : error);
  if (!(cause instanceof Error) || cause instanceof UnfitSession) return false;
  const code = codeOf(cause);
  if (code === undefined) return PASSING_MESSAGES.test(cause.message);
  if (!isSqlState(code)) return PASSING_SYSTEM_CODES.test(code);
  if (code === "08P01" && PASSING_POOLER_MESSAGES.test(cause.message)) return true;
  const isLasting = LASTING_CLASSES.has(code.slice(0, 2)) || LASTING_CODES.has(code);
  return !isLasting && (AWAY_CLASSES.has(code.slice(0, 2)) || AWAY_CODES.has(code));
}

// `EPIPE` and `EROFS` are as long, and no SQLSTATE class begins with E.
function isSqlState(code: string): boolean {
  return /^(?!E)[0-9A-Z]{5}$/.test(code);
}

/** Codes that only a transaction pooler causes, and the one for refused start-up options. */
const POOLER_CODES = new Set(["26000", "42P05"]);
const POOLER_MESSAGE = /unsupported startup parameter/;

/** Postgres has no code of its own for a read-only file system (42501), nor has each version one for a quota. */
const FULL = { codes: new Set(["53100", "ENOSPC", "EDQUOT"]), message: /No space left on device|Disk quota exceeded/ };
const READ_ONLY = { codes: new Set(["25006", "EROFS"]), message: /Read-only file system/ };

/**
 * Why storage takes no changes, with what to do, if its disk is full or it is read-only: reads may work all the same.
 * Holds no name of a file or a host, so that every client may see it.
 */
export function explainNoWrites(error: unknown): string | undefined {
  const cause = rootCause(error instanceof ClavigerError ? error.cause : error);
  const code = codeOf(cause) ?? "";
  const isOf = ({ codes, message }: typeof FULL) =>
    codes.has(code) || (cause instanceof Error && message.test(cause.message));
  if (isOf(FULL)) return "the disk of the database is full. Free space on it or enlarge it; no restart is needed";
  if (!isOf(READ_ONLY)) return undefined;
  return "the database is read-only. Mount its disk for writing, or set DATABASE_URL to the primary";
}

/** Why the database could not be asked, in a line that ends with what to do where that is known. Holds no parameters. */
export function describeOutage(error: unknown): string {
  const cause = error instanceof ClavigerError ? rootCause(error.cause) : rootCause(error);
  if (!(cause instanceof Error)) return String(cause);
  const code = codeOf(cause) ?? "";
  const text = cause.message || code || cause.name;
  const isPooler = POOLER_CODES.has(code) || POOLER_MESSAGE.test(text);
  if (isPooler) return `${text}. ${POOLER_HINT}`;
  const noWrites = explainNoWrites(cause);
  return noWrites === undefined ? text : `${noWrites} (${text})`;
}

/** How a pooler refuses start-up options: a protocol violation, or a feature that it does not support. */
const OPTIONS_REFUSED = new Set(["08P01", "0A000"]);

/** True if a pooler between client and database may accept the connection without start-up options. */
export function refusesOptions(error: unknown): boolean {
  return OPTIONS_REFUSED.has(codeOf(error) ?? "") || (error instanceof Error && POOLER_MESSAGE.test(error.message));
}

/** Whether Postgres says that code (SQLSTATE). */
export function hasCode(error: unknown, code: string): boolean {
  return codeOf(error) === code;
}

/**
 * SQLSTATE of statements after the one that broke the transaction: it is broken, or the preparation of the statement was
 * refused because it is.
 */
const ABORTED = new Set(["25P02", "26000"]);

/** The error of the statement that broke the transaction, in place of one that says only that it is broken. */
export function explainAborted(error: unknown, first: unknown): unknown {
  return ABORTED.has(codeOf(error) ?? "") && first !== undefined ? first : error;
}

/** The error of a transaction that was rolled back because its work swallowed the error of a statement. */
export function unheard(first: unknown): Error {
  if (first instanceof Error && isAway(first)) return first;
  return new Error("a statement failed and its error was swallowed, so the transaction was rolled back", {
    cause: first,
  });
}

/** The error of a row whose partition is attached while the row waits: not the row's fault. */
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
 * Replaces a driver's error before it leaves this room: `STORAGE_UNAVAILABLE` when the database is away, any other
 * error without Drizzle's message, which contains every parameter.
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

/** The database, the role, or what is in between makes right answers impossible; the message ends with what to do. */
export class UnfitSession extends Error {
  override readonly name = "UnfitSession";
}
