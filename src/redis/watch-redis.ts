import type { RedisConnection } from "./connect-redis.ts";
import { describeRedisError } from "./errors.ts";

/** Sets things off later; `verify/clocks.ts` has the same. */
export interface Timers {
  after(ms: number, work: () => void): { cancel(): void };
}

/** Told each second whether Redis can be used for one purpose. */
export interface RedisHealth {
  worked(): void;
  /** `reason` ends with what to do, and holds no password. */
  failed(reason: string): void;
}

export interface WatchRedisOptions {
  readonly connections: readonly RedisConnection[];
  /** Does what the purpose needs; rejects when that cannot be done. Also shows a server that hangs: see `socketTimeout`. */
  readonly probe: () => Promise<unknown>;
  readonly health: RedisHealth;
  readonly timers: Timers;
}

/** How often Redis is asked, in milliseconds. */
const EVERY_MS = 1000;

/** Questions in a row for which an error explains why they failed: a connection is tried more often. */
const NOTED_FOR = 4;

/** Asks on each `ready` and each second, and reports; returns how to stop. */
export function watchRedis({ connections, probe, health, timers }: WatchRedisOptions): () => void {
  /** Why there is no connection: what a server said before what a sentinel did. */
  let noted: { readonly error: Error; readonly ofSentinel: boolean; age: number } | undefined;
  let isStopped = false;
  const note = (error: Error, ofSentinel: boolean) => {
    // That one was closed says nothing of the reason.
    const isReason = !/Connection is closed\.?$/.test(error.message);
    if (isReason && (noted === undefined || noted.ofSentinel || !ofSentinel)) noted = { error, ofSentinel, age: 0 };
  };
  const ask = async () => {
    try {
      await probe();
      noted = undefined;
      if (!isStopped) health.worked();
    } catch (error) {
      // That a command could not be sent is the outcome; why there is no connection was said before.
      const isAnswer = error instanceof Error && error.name === "ReplyError";
      // An answer such as READONLY also explains what fails next: the server is left for it.
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
