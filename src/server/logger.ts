import { fstatSync } from "node:fs";
import { destination, type Logger, levels, pino, stdTimeFunctions } from "pino";
import { redactSecrets } from "../keys/redact.ts";
import { LineBatch } from "./line-batch.ts";

const STDERR = 2;
const BATCH_CHARACTERS = 64 * 1024;
/** What Linux writes to a pipe in one piece (PIPE_BUF) and a line: lines of workers that share one never mix. */
const PIPE_BATCH_CHARACTERS = 4096 - 512;

/** One JSON object per line on stderr; stdout is for what the operator asked to see. */
export interface ServerLog {
  readonly log: Logger;
  /** Writes a line of level `info` that is one JSON object already, with its newline; undefined if the level is higher. */
  readonly logLine: ((line: string) => void) | undefined;
}

/** `isShared`: other processes write there too. */
export function openLog(level: string, { isShared = false } = {}): ServerLog {
  const stderr = destination({ fd: STDERR, sync: false });
  const size = isShared && !fstatSync(STDERR).isFile() ? PIPE_BATCH_CHARACTERS : BATCH_CHARACTERS;
  const lines = new LineBatch({ size, write: (text) => void stderr.write(text) });
  const options = {
    level,
    base: null,
    timestamp: stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
    hooks: {
      logMethod(this: Logger, args: Parameters<Logger["info"]>, write: Logger["info"], weight: number) {
        lines.flush();
        write.apply(this, args);
        if (weight >= (levels.values.warn ?? 0)) stderr.flushSync();
      },
      // Owners and names in rows of older servers may be secrets that were pasted into the wrong field.
      streamWrite: redactSecrets,
    },
  };
  const log = pino(options, stderr);
  return { log, logLine: log.isLevelEnabled("info") ? (line) => lines.add(line) : undefined };
}

/** The same, for what logs no calls. */
export function createLogger(level: string): Logger {
  return openLog(level).log;
}
