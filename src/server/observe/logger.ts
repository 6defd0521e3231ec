import { fstatSync, writeSync } from "node:fs";
import { isatty } from "node:tty";
import { type Logger, levels, pino, stdTimeFunctions } from "pino";
import { redactSecrets } from "../../keys/secret.ts";
import { systemTimers as timers } from "../../system/node.ts";
import { LineBatch, LineLimit } from "./line-batch.ts";
import { LogOutput } from "./log-output.ts";
import { readableLine } from "./readable-line.ts";

const STDERR = 2;
const BATCH_CHARACTERS = 64 * 1024;
/**
 * The size of a piece that Linux writes to a pipe at once (PIPE_BUF), less one line: lines of workers that share a pipe
 * never mix.
 */
const PIPE_BATCH_CHARACTERS = 4096 - 512;
/** Warnings and errors of one message that are written in full per minute: enough to see whether they are all alike. */
const MOST_ALIKE = 5;
const ALIKE_MS = 60_000;
const REPEATED = "a message was repeated, and the repetitions were left out";
const LEFT_OUT = "a part of the log could not be written; see that its disk has space and that its reader reads";
const WARN = levels.values.warn ?? 0;
const FATAL = levels.values.fatal ?? Number.POSITIVE_INFINITY;

/** `auto`: `text` where stderr is a terminal, and `json` elsewhere. */
export type LogFormat = "auto" | "json" | "text";

/** The lines of calls, which come too often for pino: each is one JSON object with its newline. */
export interface CallLines {
  /** Undefined where the level of the log leaves out these lines. */
  readonly debug: ((line: string) => void) | undefined;
  readonly info: ((line: string) => void) | undefined;
  /** Whether a line of a refused caller may be written in full: five a minute for each caller. */
  readonly allowsRefused: (caller: string) => boolean;
}

/** The log on stderr; stdout is for output that the operator asked for. */
export interface ServerLog {
  /** Warnings and errors with the same message are limited: each is written, and flushed, at once. */
  readonly log: Logger;
  readonly callLines: CallLines;
}

export interface LogOptions {
  readonly format?: LogFormat;
  /** Whether other processes write to the same stderr. */
  readonly isShared?: boolean;
}

/** Opens the log of the process. */
export function openLog(level: string, { format = "auto", isShared = false }: LogOptions = {}): ServerLog {
  const isTerminal = isatty(STDERR);
  const isText = format === "text" || (format === "auto" && isTerminal);
  const shape = (line: string) => (isText ? readableLine(line, { isColoured: isTerminal }) : line);
  const stderr = new LogOutput({
    fd: STDERR,
    onLeftOut: (characters) => log.warn({ event: "log", characters }, LEFT_OUT),
  });
  const size = isShared && !fstatSync(STDERR).isFile() ? PIPE_BATCH_CHARACTERS : BATCH_CHARACTERS;
  const lines = new LineBatch({ size, write: (text) => void stderr.write(text) });
  const limit = new LineLimit({
    ...{ timers, most: MOST_ALIKE, periodMs: ALIKE_MS },
    onLeftOut: (of, count) => log.warn({ event: "repeated", of, count }, REPEATED),
  });
  const options = {
    level,
    base: null,
    timestamp: stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
    hooks: {
      logMethod(this: Logger, args: Parameters<Logger["info"]>, write: Logger["info"], weight: number) {
        const isLoud = weight >= WARN;
        const message = messageOf(args);
        if (isLoud && weight < FATAL && message !== REPEATED && !limit.allows(message)) return;
        lines.flush();
        write.apply(this, args);
        if (isLoud) stderr.flushSync();
      },
      // Owners and names in rows of older servers may be secrets that were pasted into the wrong field.
      streamWrite: (line: string) => shape(redactSecrets(line)),
    },
  };
  const log = pino(options, stderr);
  const linesAt = (of: "debug" | "info") =>
    log.isLevelEnabled(of) ? (line: string) => lines.add(shape(line)) : undefined;
  const allowsRefused = (caller: string) => limit.allows(`refused calls of ${caller}`);
  return { log, callLines: { debug: linesAt("debug"), info: linesAt("info"), allowsRefused } };
}

/** Opens the log of a process that serves no calls. */
export function createLogger(level: string, format: LogFormat = "auto"): Logger {
  return openLog(level, { format }).log;
}

/**
 * Logs an error that no code has handled, after which the process ends; a log that is off does not hide it. Shows only
 * the stacks of an error: a driver's error has the parameters of its query among its other properties.
 */
export function logDefect(log: Logger, error: unknown, kind: string): void {
  const errors = error instanceof Error && error.cause instanceof Error ? [error, error.cause] : [error];
  const stacks = errors.map((each) => (each instanceof Error ? (each.stack ?? each.message) : String(each)));
  const stack = redact(stacks.join("\ncaused by "));
  const message = "a defect ends this process; please report it";
  if (log.isLevelEnabled("fatal")) log.fatal({ event: "defect", kind, stack }, message);
  else writeSync(STDERR, `error: ${message}: ${stack}\n`);
}

/** Takes out secrets, and passwords of addresses. */
function redact(text: string): string {
  return redactSecrets(text).replaceAll(/(:\/\/[^\s:/@]*):[^\s/@]+@/g, "$1:[redacted]@");
}

function messageOf([first, second]: readonly unknown[]): string {
  return typeof first === "string" ? first : String(second ?? "");
}
