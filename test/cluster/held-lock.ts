import postgres from "postgres";
import { eventually } from "../../testkit/eventually.ts";

/** A transaction of the test's own that others wait for: it stretches the window of a race for as long as it takes. */
export interface HeldLock {
  /** Resolves once that many statements of Claviger wait for a lock in this database. */
  waiters(count: number): Promise<void>;
  /** Takes everything back that the transaction did, and lets the others go on. Twice is fine. */
  release(): Promise<void>;
}

/** Begins a transaction in the database at `url`, as its owner, and runs `take` in it. */
export async function holdLock(
  url: string,
  take: (transaction: postgres.ReservedSql) => Promise<unknown>,
): Promise<HeldLock> {
  const sql = postgres(url, { max: 2, onnotice: () => undefined });
  const transaction = await sql.reserve();
  await transaction`begin`;
  await take(transaction);
  let released = false;
  return {
    waiters: (count) =>
      eventually(
        async () => {
          const waiting = await sql`select pid from pg_stat_activity
          where datname = current_database() and application_name = 'claviger' and wait_event_type = 'Lock'`;
          if (waiting.length < count) throw new Error(`${waiting.length} statements wait for a lock, not ${count}`);
        },
        { abandonIf: () => (released ? new Error("the lock was released; wait before that") : undefined) },
      ),
    release: async () => {
      if (released) return;
      released = true;
      await transaction`rollback`;
      transaction.release();
      await sql.end({ timeout: 1 });
    },
  };
}
