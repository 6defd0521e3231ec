import { destination, type Logger, pino, stdTimeFunctions } from "pino";

const STDERR = 2;

/** One JSON object per line on stderr; stdout is for what the operator asked to see. */
export function createLogger(level: string): Logger {
  const options = {
    level,
    base: null,
    timestamp: stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
  };
  return pino(options, destination({ fd: STDERR, sync: true }));
}
