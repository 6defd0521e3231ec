import { destination, type Logger, levels, pino, stdTimeFunctions } from "pino";

const STDERR = 2;
/** A write for each line took half as much CPU as all else of a verification (60 µs beside 120): they go together. */
const WRITE_BYTES = 3584;
/** What Linux writes to a pipe in one piece (PIPE_BUF): lines of workers that share one never mix. */
const MOST_WRITE_BYTES = 4096;
/** Longest that a line waits for others, in milliseconds: what a kill loses of the log. Warnings never wait. */
const WRITE_EVERY_MS = 100;

/** One JSON object per line on stderr; stdout is for what the operator asked to see. */
export interface ServerLog {
  readonly log: Logger;
  /** Writes a line of level `info` that is one JSON object already, with its newline; undefined if the level is higher. */
  readonly logLine: ((line: string) => void) | undefined;
}

export function openLog(level: string): ServerLog {
  const stderr = destination({
    ...{ fd: STDERR, sync: false, periodicFlush: WRITE_EVERY_MS },
    ...{ minLength: WRITE_BYTES, maxWrite: MOST_WRITE_BYTES },
  });
  const options = {
    level,
    base: null,
    timestamp: stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
    hooks: {
      logMethod(this: Logger, args: Parameters<Logger["info"]>, write: Logger["info"], weight: number) {
        write.apply(this, args);
        if (weight >= (levels.values.warn ?? 0)) stderr.flushSync();
      },
    },
  };
  const log = pino(options, stderr);
  return { log, logLine: log.isLevelEnabled("info") ? (line) => void stderr.write(line) : undefined };
}

/** The same, for what logs no calls. */
export function createLogger(level: string): Logger {
  return openLog(level).log;
}
