import { statfs } from "node:fs/promises";
import { StartupError } from "../startup-error.ts";

/** Below this much free space, in bytes, PGlite cannot open its database: it writes a segment of its log of 16 MiB. */
const ENOUGH_BYTES = 17 * 1024 * 1024;

const ADVICE = "or give another folder by CLAVIGER_DATA_DIR";

/** Codes of Node, SQLSTATE disk_full, and result codes of SQLite, which holds the lock of the folder. */
const FULL = new Set(["ENOSPC", "EDQUOT", "53100", "SQLITE 13"]);
const READ_ONLY = new Set(["EROFS", "SQLITE 8", "SQLITE 1032"]);
const FORBIDDEN = new Set(["EACCES", "EPERM"]);

/**
 * Explains why the embedded database could not be opened.
 *
 * @param error what failed; other errors than those of the disk are returned as they are
 */
export async function explainFolder(folder: string, error: unknown): Promise<unknown> {
  const code = codeOf(error);
  if (error instanceof StartupError) return error;
  if (READ_ONLY.has(code))
    return explained(`the data folder ${folder} is read-only. Mount it for writing, ${ADVICE}`, error);
  if (FORBIDDEN.has(code)) {
    return explained(`the data folder ${folder} may not be written to. Correct its owner and mode, ${ADVICE}`, error);
  }
  if (FULL.has(code) || (await isFull(folder))) {
    return explained(
      `the disk of the data folder ${folder} is full. Free space and start again; no key is lost`,
      error,
    );
  }
  return error;
}

/** Explains why PGlite did not open its database: its own error is a stack of WebAssembly. */
export async function explainDatabase(folder: string, error: unknown): Promise<unknown> {
  const known = await explainFolder(folder, error);
  if (known !== error) return known;
  return explained(
    `the embedded database in ${folder} cannot be opened: its files are damaged. Restore the folder from a backup, or move it away to begin with an empty one (its keys are then unknown)`,
    error,
  );
}

function explained(message: string, cause: unknown): StartupError {
  return new StartupError(message, { cause });
}

function codeOf(error: unknown): string {
  const { code, errcode, cause } = (error ?? {}) as Readonly<Partial<Record<"code" | "errcode" | "cause", unknown>>>;
  if (typeof errcode === "number") return `SQLITE ${errcode}`;
  return typeof code === "string" ? code : cause === undefined ? "" : codeOf(cause);
}

async function isFull(folder: string): Promise<boolean> {
  try {
    const { bavail, bsize } = await statfs(folder);
    return bavail * bsize < ENOUGH_BYTES;
  } catch {
    return false;
  }
}
