import type { Count, Made } from "./contestant.ts";
import { type Served, serveContestant } from "./served.ts";

/** Two servers that share one Postgres and one Redis, whatever is behind them. */
export interface Subject {
  readonly name: string;
  /** Makes a key, by the second server. */
  create(quota?: number): Promise<Made>;
  /** By the first server for even `at`, the second for odd. Never throws. */
  verify(secret: string, at: number): Promise<Verdict>;
  /** Both by the second server, so that the first must hear of it. */
  remove(id: string): Promise<void>;
  disable(id: string): Promise<void>;
  /** How many uses of a key the second server knows of, of a key with `quota`. Nothing where nothing is counted. */
  counted(id: string, quota: number): Promise<Counted | undefined>;
  /** Kill -9 of the first server. */
  kill(): Promise<void>;
  stop(): Promise<void>;
}

export type Verdict = "granted" | "refused" | "unanswered";

export interface Counted {
  readonly uses: number;
  /** In milliseconds of Unix time. */
  readonly lastUse: number;
}

export async function contestantSubject(name: string, env: Readonly<Record<string, string>>): Promise<Subject> {
  const first = await serveContestant(name, env);
  const second = await serveContestant(name, env);
  const serverOf = (at: number): Served => (at % 2 === 0 ? first : second);
  return {
    name,
    create: (quota) => second.ask(quota === undefined ? "create" : `create?remaining=${quota}`),
    verify: (secret, at) =>
      serverOf(at)
        .verify(secret)
        .then(
          (isValid) => (isValid ? "granted" : "refused"),
          () => "unanswered",
        ),
    remove: (id) => second.ask(`remove?id=${id}`),
    disable: (id) => second.ask(`disable?id=${id}`),
    async counted(id, quota) {
      const count = await second.ask<Count | null>(`count?id=${id}`);
      return count === null ? undefined : { uses: quota - count.remaining, lastUse: count.lastRequest };
    },
    kill: () => first.kill(),
    async stop() {
      await Promise.all([first.stop(), second.stop()]);
    },
  };
}
