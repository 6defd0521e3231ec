import { sql } from "drizzle-orm";
import fc from "fast-check";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { MOST_COUNTED, type UsageBatch, type UsageDelta } from "../../src/keys/usage-delta.ts";
import { connectPostgres } from "../../src/postgres/connect/postgres-connection.ts";
import { usageBatch, usageHour, usageRejected, usageSource } from "../../src/postgres/schema.ts";
import type { Database, Storage } from "../../src/postgres/storage.ts";
import { appendUsage, forgetSources, MOST_SOURCES } from "../../src/postgres/usage-ledger.ts";
import { queryUsage, readCharged } from "../../src/postgres/usage-query.ts";
import { DEFAULT_POLICY } from "../../src/server/config/policy.ts";
import { foldLedger } from "../../src/usage/fold.ts";
import { startClaviger, type TestClaviger } from "../../testkit/claviger.ts";
import { describeWithPostgres } from "../../testkit/describe-with.ts";
import { makeKey } from "../rpc/make-key.ts";

const DAY_MS = 86_400_000;
/** Nothing folds by itself. */
const STILL = { CLAVIGER_POLICY: JSON.stringify({ usage: { foldMs: 1_000_000_000, flushMs: 1_000_000_000 } }) };
/** One more than `bigint` holds, and more than a double does: JSON has both. */
const HUGE = ["9223372036854775808", "1e400"];

describe.each(["embedded", "postgres"] as const)("whatever a batch of usage holds (%s)", (kind) => {
  const suite = kind === "postgres" ? describeWithPostgres : describe;
  suite("the ledger", () => {
    let claviger: TestClaviger;
    let storage: Storage;
    let keyId: string;
    let made = 0;
    let batches = 0;

    beforeAll(async () => {
      claviger = await startClaviger(kind, STILL);
      storage = claviger.storage;
    });
    afterAll(() => claviger?.close());
    beforeEach(async () => {
      keyId = (await makeKey(claviger.admin, { owner: `bounds-${++made}` })).id;
      await storage.write((database) => database.delete(usageBatch));
    });

    const delta = (changes: Partial<UsageDelta> = {}): UsageDelta => ({
      ...{ keyId, callerId: "", version: 1, verdict: "valid", method: "", count: 1, cost: 1 },
      ...{ minute: Math.floor(Date.now() / 60_000), lastSecond: Math.floor(Date.now() / 1000), ...changes },
    });
    const append = (batch: UsageBatch) => storage.write((database) => appendUsage(database, batch));
    async function appendRows(...deltas: readonly UsageDelta[]): Promise<string> {
      const epoch = `bounds-${++batches}`;
      await append({ epoch, seq: 1, deltas });
      return epoch;
    }
    /** A batch of which the text is what the database has. */
    async function appendText(deltas: string): Promise<void> {
      const epoch = await appendRows(delta());
      await storage.write((database) =>
        database.execute(sql`update usage_batch set deltas = ${deltas}::jsonb where epoch = ${epoch}`),
      );
    }
    const row = (changes: Readonly<Record<string, string>> = {}) => {
      const now = Math.floor(Date.now() / 1000);
      const fields: Record<string, string> = {
        k: `"${keyId}"`,
        c: '""',
        v: "1",
        x: '"valid"',
        m: '""',
        n: "1",
        o: "1",
      };
      const all = { ...fields, t: String(Math.floor(now / 60)), l: String(now), ...changes };
      return `{${Object.entries(all).map(([name, value]) => `"${name}": ${value}`)}}`;
    };
    async function fold(): Promise<number> {
      let rejected = 0;
      await foldLedger({ storage, rows: 1000, onRejected: (rows) => (rejected += rows) });
      expect(await storage.read((database) => database.$count(usageBatch))).toBe(0);
      return rejected;
    }
    const span = () => ({ startTime: new Date(Date.now() - 8 * DAY_MS), endTime: new Date(Date.now() + DAY_MS) });
    async function countsBy(dimension?: "method"): Promise<(readonly [string, number])[]> {
      const query = { keyId, ...span(), step: "day", groupBy: dimension ? [dimension] : [], limit: 100_000 } as const;
      const counts = await storage.read((database) => queryUsage(database, query));
      return counts.map(({ group, count }) => [group[0] ?? "", count]);
    }
    const total = async () => (await countsBy()).reduce((sum, [, count]) => sum + count, 0);
    const charged = () => storage.read((database) => readCharged(database, keyId, span().startTime));

    it("folds its good rows, sets its bad ones aside, and says the same of it before and after", async () => {
      const before = await storage.read((database) => database.$count(usageRejected));
      expect([await total(), await charged()]).toEqual([0, 0]);
      const wrong = [
        ...['"7"', "true", "null", "[]", "{}"].map((value) => row({ n: value })),
        ...["v", "t", "n", "o", "l"].map((name) => row({ [name]: '"x"' })),
        ...["k", "c", "x", "m"].map((name) => row({ [name]: "null" })),
        ...["7", '"text"', "null", "[]", "[[]]", "{}"],
      ];
      await appendText(`[${[row(), ...wrong, row()]}]`);
      expect([await total(), await charged()]).toEqual([2, 2]);
      for (const whole of ["{}", "7", '"text"', "null"]) await appendText(whole);
      await appendRows(delta({ count: 5, cost: 6 }));
      expect([await total(), await charged()]).toEqual([7, 8]);
      expect(await fold()).toBe(wrong.length + 4);
      expect([await total(), await charged()]).toEqual([7, 8]);
      // A row of the table for each batch, with those rows of it.
      expect(await storage.read((database) => database.$count(usageRejected))).toBe(before + 5);
    });

    it("never fails for numbers and texts, however large: they stay within their bounds", async () => {
      for (const huge of [...HUGE, `-${HUGE[0]}`, "-1e400", "1e-400"]) {
        for (const name of ["v", "t", "n", "o", "l"]) await appendText(`[${row({ [name]: huge })}]`);
      }
      const long = JSON.stringify("é".repeat(5000));
      for (const name of ["k", "c", "x", "m"]) await appendText(`[${row({ [name]: long })}]`);
      for (const folds of [false, true]) {
        if (folds) expect(await fold()).toBe(0);
        expect(Math.max(...(await countsBy()).map(([, count]) => count))).toBe(MOST_COUNTED);
        expect(await charged()).toBe(MOST_COUNTED);
      }
    });

    it("adds to a row that stands at the end of what can be counted, and everything else in the batch counts", async () => {
      const other = (await makeKey(claviger.admin, { owner: "bounds-other" })).id;
      await appendText(`[${row({ n: "9223372036854775807", o: "9223372036854775807" })}]`);
      await fold();
      // As an older process may have left it.
      await storage.write((database) =>
        database
          .update(usageHour)
          .set({ count: sql`9223372036854775807`, cost: sql`9223372036854775806` })
          .where(sql`key_id = ${keyId}`),
      );
      await appendRows(delta({ count: 2, cost: 2 }), delta({ keyId: other, count: 3, cost: 3 }));
      expect(await charged()).toBe(MOST_COUNTED);
      expect(await fold()).toBe(0);
      expect([await total(), await charged()]).toEqual([MOST_COUNTED, MOST_COUNTED]);
      expect(await storage.read((database) => readCharged(database, other, span().startTime))).toBe(3);
      const query = { keyId, startTime: { seconds: nowSeconds() - 3600n }, endTime: { seconds: nowSeconds() + 3600n } };
      const answer = await claviger.admin.keys.queryUsage({ ...query, step: 2 });
      expect(answer.total).toBe(BigInt(MOST_COUNTED));
    });

    it("counts beside it exactly what honest rows say", async () => {
      const json = fc.oneof(
        fc.json({ maxDepth: 2 }).filter((text) => !text.includes("\\u0000") && !/\\ud[89a-f]/i.test(text)),
        fc.constantFrom(...HUGE, "-1", "1.5", "0"),
      );
      const hostile = fc.record({
        name: fc.constantFrom("k", "c", "v", "x", "m", "t", "n", "o", "l"),
        value: json,
      });
      const batch = fc.array(
        fc.oneof(
          fc.nat(1000).map((count) => ({ count })),
          hostile,
          json,
        ),
        { maxLength: 8 },
      );
      let expected = 0;
      await fc.assert(
        fc.asyncProperty(fc.array(batch, { minLength: 1, maxLength: 4 }), async (all) => {
          for (const elements of all) {
            const rows = elements.map((element) => {
              if (typeof element === "string") return element;
              // Hostile rows are of another key, so that what counts of them does not show here.
              if ("value" in element) return row({ k: '"key_other"', [element.name]: element.value });
              expected += element.count;
              return row({ n: String(element.count), o: String(element.count) });
            });
            await appendText(`[${rows}]`);
          }
          expect([await total(), await charged()]).toEqual([expected, expected]);
          await fold();
          expect([await total(), await charged()]).toEqual([expected, expected]);
        }),
        { numRuns: 15 },
      );
    });

    it("keeps a hundred methods of one key and hour, and counts the others under one name", async () => {
      const methods = (from: number, count: number) =>
        Array.from({ length: count }, (_, at) => delta({ method: `/a.B/${String(from + at).padStart(4, "0")}` }));
      await appendRows(...methods(0, 60), delta());
      await fold();
      await appendRows(...methods(50, 300), delta({ method: "(other methods)" }));
      await fold();
      await appendRows(...methods(340, 100), ...methods(0, 10));
      await fold();
      const counts = new Map(await countsBy("method"));
      const named = [...counts.keys()].filter((method) => method.startsWith("/"));
      expect(named).toHaveLength(100);
      expect(counts.get("/a.B/0000")).toBe(2);
      expect(counts.get("")).toBe(1);
      expect(counts.get("(other methods)")).toBe(250 + 1 + 100);
      expect(await total()).toBe(61 + 301 + 110);
    });

    it("takes a report without rows as the next of its source, and keeps none of it", async () => {
      const epoch = `bounds-${++batches}`;
      expect(await append({ epoch, seq: 1, deltas: [] })).toBe("taken");
      expect(await append({ epoch, seq: 1, deltas: [] })).toBe("known");
      expect(await storage.read((database) => database.$count(usageBatch))).toBe(0);
      expect(await append({ epoch, seq: 2, deltas: [delta()] })).toBe("taken");
    });

    it("remembers so many sources of one calling key, takes what they send, and has room for other callers", async () => {
      const fill = sql`insert into usage_source (epoch, last_seq)
        select 'key_many/' || place, 1 from generate_series(1, ${MOST_SOURCES - 1}) place`;
      await storage.write((database) => database.execute(fill));
      const of = (epoch: string, seq = 1) => append({ epoch, seq, deltas: [delta()] });
      expect(await of("key_many/last")).toBe("taken");
      expect(await of("key_many/beyond")).toBe("full");
      expect(await of("key_many/beyond")).toBe("full");
      expect(await of("key_many/last")).toBe("known");
      expect(await of("key_many/7", 2)).toBe("taken");
      expect(await of("key_many/beyond", 3)).toBe("gap");
      expect(await of("key_others/first")).toBe("taken");
      expect(await of(`node-${made}`)).toBe("taken");
      await storage.write((database) => database.delete(usageSource).where(sql`epoch like 'key_many/%'`));
    });

    it("forgets a source that is silent for longer than a report may wait, and no other", async () => {
      const [silent, heard] = [await appendRows(delta()), await appendRows(delta())];
      const age = sql`update usage_source set time = now() - interval '9 days' where epoch in (${silent}, ${heard})`;
      await storage.write((database) => database.execute(age));
      expect(await append({ epoch: heard, seq: 2, deltas: [delta()] })).toBe("taken");
      await storage.write((database) => forgetSources(database, 8 * DAY_MS));
      expect(await append({ epoch: heard, seq: 2, deltas: [delta()] })).toBe("known");
      expect(await append({ epoch: silent, seq: 2, deltas: [delta()] })).toBe("gap");
    });

    // The embedded database has one session, which may not make functions.
    if (kind === "embedded") return;
    it("sets the one row aside that the database refuses for a reason of its own, and counts the others", async () => {
      await asOwner(claviger.databaseUrl ?? "", async (owner) => {
        await owner.execute(sql`create function refuse() returns trigger language plpgsql
          as $$ begin if new.method = '/poison/X' then raise sqlstate '22999'; end if; return new; end $$`);
        await owner.execute(
          sql`create trigger refuse before insert on usage_hour_default for each row execute function refuse()`,
        );
        await owner.execute(sql`do $$ declare part text; begin
          for part in select inhrelid::regclass::text from pg_inherits where inhparent = 'usage_hour'::regclass loop
            execute format('create or replace trigger refuse before insert on %s for each row execute function refuse()', part);
          end loop; end $$`);
      });
      const rows = Array.from({ length: 50 }, (_, at) => delta({ method: `/a.B/${at}`, count: 2 }));
      await appendRows(...rows.slice(0, 20), delta({ method: "/poison/X" }), ...rows.slice(20));
      await appendRows(delta());
      expect(await fold()).toBe(1);
      expect(await total()).toBe(101);
      const [rejected] = await storage.read((database) =>
        database.select().from(usageRejected).where(sql`code = '22999'`),
      );
      expect(rejected?.deltas).toMatchObject([{ m: "/poison/X" }]);
    });
  });
});

function nowSeconds(): bigint {
  return BigInt(Math.floor(Date.now() / 1000));
}

async function asOwner(url: string, work: (owner: Database) => Promise<void>): Promise<void> {
  const connection = connectPostgres({ url, role: undefined, ...DEFAULT_POLICY.postgres });
  try {
    await connection.read(work);
  } finally {
    await connection.close();
  }
}
