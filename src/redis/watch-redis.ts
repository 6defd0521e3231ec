import type { RedisConnection } from "./connect-redis.ts";
import { describeRedisError } from "./errors.ts";

/** Runs work later; `verify/clocks.ts` has the same interface. */
export interface Timers {
  after(ms: number, work: () => void): { cancel(): void };
}

/** Receives each second whether Redis is usable for one purpose. */
export interface RedisHealth {
  worked(): void;
  /** `reason` ends with advice, and holds no password. */
  failed(reason: string): void;
}

export interface WatchRedisOptions {
  readonly connections: readonly RedisConnection[];
  /**
   * Performs the operation that the purpose needs; rejects if it fails. Also detects a hanging server: see
   * `socketTimeout`.
   */
  readonly probe: () => Promise<unknown>;
  readonly health: RedisHealth;
  readonly timers: Timers;
}

/** Interval of checks in milliseconds. */
const EVERY_MS = 1000;

/** Consecutive failed checks that one error explains: reconnecting happens more often than checks. */
const NOTED_FOR = 4;

/** Checks on each `ready` and each second, and reports. Returns a function that stops it. */
export function watchRedis({ connections, probe, health, timers }: WatchRedisOptions): () => void {
  /** Why no connection exists: a server's reason takes precedence over a sentinel's. */
  let noted: { readonly error: Error; readonly ofSentinel: boolean; age: number } | undefined;
  let isStopped = false;
  const note = (error: Error, ofSentinel: boolean) => {
    // A closed connection is not a reason.
    const isReason = !/Connection is closed\.?$/.test(error.message);
    if (isReason && (noted === undefined || noted.ofSentinel || !ofSentinel)) noted = { error, ofSentinel, age: 0 };
  };
  const ask = async () => {
    try {
      await probe();
      noted = undefined;
      if (!isStopped) health.worked();
    } catch (error) {
      // A command that could not be sent is an outcome; the reason for the missing connection was reported before.
      const isAnswer = error instanceof Error && error.name === "ReplyError";
      // An answer such as READONLY also explains the next failure: the client leaves the server for it.
      if (isAnswer) noted = { error, ofSentinel: false, age: 0 };
      else if (noted !== undefined && ++noted.age > NOTED_FOR) noted = undefined;
      if (!isStopped) health.failed(describeRedisError(noted?.error ?? error));
    }
  };
  const again = () => {
    timer = timers.after(EVERY_MS, again);
    void ask();
  };
  let timer = timers.after(EVERY_MS, again);
  for (const connection of connections) {
    connection.on("error", (error: Error) => note(error, false));
    connection.on("node error", (error: Error) => note(error, false));
    connection.on("sentinelError", (error: Error) => note(error, true));
    connection.on("ready", () => void ask());
  }
  return () => {
    isStopped = true;
    timer.cancel();
  };
}
