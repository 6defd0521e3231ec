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

/** Asks on each `ready` and each second, and reports; returns how to stop. */
export function watchRedis({ connections, probe, health, timers }: WatchRedisOptions): () => void {
  let noted: unknown;
  let isStopped = false;
  const note = (error: unknown) => {
    noted = error;
  };
  const ask = async () => {
    try {
      await probe();
      noted = undefined;
      if (!isStopped) health.worked();
    } catch (error) {
      // That a command could not be sent is the outcome; why there is no connection was said before.
      const isAnswer = error instanceof Error && error.name === "ReplyError";
      if (!isStopped) health.failed(describeRedisError(isAnswer ? error : (noted ?? error)));
    }
  };
  const again = () => {
    timer = timers.after(EVERY_MS, again);
    void ask();
  };
  let timer = timers.after(EVERY_MS, again);
  for (const connection of connections) {
    for (const event of ["error", "node error", "sentinelError"]) connection.on(event, note);
    connection.on("ready", () => void ask());
  }
  return () => {
    isStopped = true;
    timer.cancel();
  };
}
