import { setImmediate } from "node:timers/promises";
import { drizzle } from "drizzle-orm/node-postgres";
import type pg from "pg";
import { explainAborted, isAway, unheard } from "../errors.ts";
import { Ending, type KeptStatements } from "../statements.ts";
import type { Database, TransactionWork } from "../storage.ts";

export interface TransactionClientOptions {
  /** Begins a transaction; rejects if none may be used. */
  readonly begin: () => Promise<unknown>;
  readonly keepsPlans: boolean;
}

/**
 * The transactions of one connection, one after the other, in as few round trips as they allow
 * (docs/decisions/0022-one-flight-to-the-commit.md): the first reads go with the BEGIN, the last statements with the
 * COMMIT.
 */
export class TransactionClient {
  readonly #client: pg.ClientBase;
  readonly #options: TransactionClientOptions;
  readonly #database: Database;
  #begun: Promise<unknown> = Promise.resolve();
  #isBegun = false;
  #isHeldBack = false;
  #sent = 0;
  /** The error that broke the transaction. The statements after it say only that it is broken. */
  #firstError: unknown;

  constructor(client: pg.ClientBase, options: TransactionClientOptions) {
    this.#client = client;
    this.#options = options;
    const kept: KeptStatements = { known: new Map(), areNamed: options.keepsPlans };
    this.#database = Object.assign(drizzle(this as unknown as pg.Client), { kept });
  }

  /** Rejects with the error that broke the transaction, even if `work` did not handle it. */
  async run<T>(work: TransactionWork<T>): Promise<T> {
    this.#begin();
    try {
      const result = await work(this.#database);
      await this.#begun;
      if (result instanceof Ending) return await this.#commitWith(result);
      await this.#commit();
      return result;
    } catch (error) {
      const cause = explainAborted(error, this.#firstError);
      await this.#client.query("rollback").catch((failed: unknown) => {
        // A connection that is lost cannot roll back, and the reason of the loss says more.
        if (!isAway(cause)) throw failed;
      });
      throw cause;
    }
  }

  /**
   * Called by Drizzle. A statement that writes waits until the transaction has begun: without one, it would be committed
   * by itself.
   */
  query(config: { readonly text: string }, values: unknown[]): Promise<pg.QueryResult> {
    const send = () => {
      this.#sent += 1;
      return this.#client.query(config, values);
    };
    this.#isHeldBack ||= !this.#isBegun && !/^select /i.test(config.text);
    return this.#note(this.#isBegun || !this.#isHeldBack ? send() : this.#begun.then(send));
  }

  #begin(): void {
    this.#isBegun = false;
    this.#isHeldBack = false;
    this.#firstError = undefined;
    this.#begun = this.#note(
      this.#options.begin().then(() => {
        this.#isBegun = true;
      }),
    );
  }

  /**
   * The COMMIT does not wait for the results of the statements before it. After one that failed, Postgres rolls back
   * instead, and says so. A statement that could not be sent fails within a turn; then no COMMIT is sent.
   */
  async #commitWith<T>({ statements, conclude }: Ending<T>): Promise<T> {
    const before = this.#sent;
    let isBroken = false;
    const results = Promise.all(statements.map((statement) => statement.send()));
    results.catch(() => {
      isBroken = true;
    });
    await setImmediate();
    if (isBroken || this.#firstError !== undefined || this.#sent - before < statements.length) await results;
    const [ended, committed] = await Promise.allSettled([results, this.#commit()]);
    if (ended.status === "rejected") throw ended.reason;
    if (committed.status === "rejected") throw committed.reason;
    return conclude(ended.value);
  }

  async #commit(): Promise<void> {
    const { command } = await this.#client.query("commit");
    if (command !== "COMMIT") throw unheard(this.#firstError);
  }

  #note<T>(answer: Promise<T>): Promise<T> {
    answer.catch((error: unknown) => {
      this.#firstError ??= error;
    });
    return answer;
  }
}
