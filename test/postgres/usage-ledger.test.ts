import { sql } from "drizzle-orm";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { UsageBatch, UsageDelta } from "../../src/keys/usage-delta.ts";
import { connectPostgres } from "../../src/postgres/connect/postgres-connection.ts";
import { keyLastUsed, usageBatch, usageHour, usageMinute, usageSource } from "../../src/postgres/schema.ts";
import { Storage } from "../../src/postgres/storage.ts";
import { appendUsage, dropPartitions, foldUsage, makePartitions } from "../../src/postgres/usage-ledger.ts";
import { queryUsage, readCharged } from "../../src/postgres/usage-query.ts";
import { DEFAULT_POLICY } from "../../src/server/config/policy.ts";
import { startClaviger, type TestClaviger } from "../../testkit/claviger.ts";
import { describeWithPostgres } from "../../testkit/describe-with.ts";
import { makeKey } from "../rpc/make-key.ts";

const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;
/** Nothing folds by itself. */
const STILL = { CLAVIGER_POLICY: JSON.stringify({ usage: { foldMs: 1_000_000_000, flushMs: 1_000_000_000 } }) };

describe.each(["embedded", "postgres"] as const)("the usage ledger (%s)", (kind) => {
  const suite = kind === "postgres" ? describeWithPostgres : describe;
  suite("of one database", () => {
    let claviger: TestClaviger;
    let storage: Storage;
    let now: number;
    let keyId: string;
    let keys = 0;

    beforeAll(async () => {
      claviger = await startClaviger(kind, STILL);
      storage = claviger.storage;
    });
    afterAll(() => claviger?.close());
    beforeEach(async () => {
      now = Date.now();
      keyId = (await makeKey(claviger.admin, { owner: `usage-${++keys}` })).id;
    });

    const delta = (changes: Partial<UsageDelta> = {}): UsageDelta => ({
      ...{ keyId, callerId: "", version: 1, verdict: "valid", method: "", count: 1, cost: 1 },
      ...{ minute: Math.floor(now / MINUTE_MS), lastSecond: Math.floor(now / 1000), ...changes },
    });
    const batch = (seq: number, deltas: readonly UsageDelta[] = [delta()]): UsageBatch => ({
      epoch: keyId,
      seq,
      deltas,
    });
    const append = (sent: UsageBatch) => storage.write((database) => appendUsage(database, sent));
    const fold = () => storage.write((database) => foldUsage(database, 1000));
    const total = async (step: "minute" | "hour" | "day" = "hour") => {
      const [startTime, endTime] = [new Date(now - 6 * DAY_MS), new Date(now + DAY_MS)];
      const counts = await storage.read((database) =>
        queryUsage(database, { keyId, startTime, endTime, step, groupBy: [], limit: 100_000 }),
      );
      return counts.reduce((sum, { count }) => sum + count, 0);
    };

    it("takes each batch once, whatever comes again, and says so", async () => {
      expect(await append(batch(1))).toBe("taken");
      expect(await append(batch(1))).toBe("known");
      expect(await append(batch(2))).toBe("taken");
      expect(await append(batch(1))).toBe("known");
      expect(await total()).toBe(2);
      await fold();
      expect(await append(batch(2))).toBe("known");
      expect(await total()).toBe(2);
    });

    it("says that it has a gap, and takes nothing, when batches are missing before", async () => {
      expect(await append(batch(3))).toBe("gap");
      await append(batch(1));
      expect(await append(batch(3))).toBe("gap");
      expect(await total()).toBe(1);
    });

    it("has a count in the ledger or in the totals, and shows it before it is folded and after", async () => {
      await append(batch(1, [delta({ count: 3 }), delta({ count: 4, verdict: "revoked", method: "/a.B/C" })]));
      for (const step of ["minute", "hour", "day"] as const) expect(await total(step)).toBe(7);
      await fold();
      for (const step of ["minute", "hour", "day"] as const) expect(await total(step)).toBe(7);
      expect(await storage.read((database) => database.$count(usageBatch))).toBe(0);
      await append(batch(2, [delta({ count: 5 })]));
      expect(await total()).toBe(12);
      await fold();
      expect(await total()).toBe(12);
    });

    it("tells counts apart by verdict, method, version and key", async () => {
      await append(
        batch(1, [
          delta({ count: 3 }),
          delta({ count: 4, verdict: "revoked", method: "/a.B/C", version: 2 }),
          delta({ keyId: "", callerId: keyId, version: 0, verdict: "unknown" }),
        ]),
      );
      const [startTime, endTime] = [new Date(now - DAY_MS), new Date(now + DAY_MS)];
      const groupBy = ["verdict", "method", "version", "key"] as const;
      const query = { keyId, startTime, endTime, step: "day", groupBy, limit: 100 } as const;
      const read = async () =>
        (await storage.read((database) => queryUsage(database, query))).map(({ group, count }) => [...group, count]);
      const expected = [
        ["revoked", "/a.B/C", "2", keyId, 4],
        ["unknown", "", "0", "", 1],
        ["valid", "", "1", keyId, 3],
      ];
      expect(await read()).toEqual(expected);
      await fold();
      expect(await read()).toEqual(expected);
    });

    it("remembers when a secret was last valid, and never an earlier time, nor one in the future", async () => {
      const second = Math.floor(now / 1000);
      const lastUsed = async () => {
        await fold();
        const rows = await storage.read((database) => database.select().from(keyLastUsed));
        return rows.filter((row) => row.keyId === keyId).map((row) => row.time.getTime());
      };
      await append(batch(1, [delta({ verdict: "revoked" })]));
      expect(await lastUsed()).toEqual([]);
      await append(batch(2, [delta({ lastSecond: second - 10 })]));
      expect(await lastUsed()).toEqual([(second - 10) * 1000]);
      await append(batch(3, [delta({ lastSecond: second - 20 })]));
      expect(await lastUsed()).toEqual([(second - 10) * 1000]);
      await append(batch(4, [delta({ lastSecond: second + 5000 })]));
      expect((await lastUsed())[0]).toBeLessThanOrEqual(Date.now() + 1000);
    });

    it("keeps what a wrong clock counted near its own time", async () => {
      const minute = Math.floor(now / MINUTE_MS);
      await append(batch(1, [delta({ minute: minute - 100 * 24 * 60 }), delta({ minute: minute + 5000 })]));
      await fold();
      const rows = await storage.read((database) => database.select().from(usageMinute).where(sql`key_id = ${keyId}`));
      const times = rows.map(({ time }) => time.getTime()).sort((a, b) => a - b);
      expect(times).toHaveLength(2);
      expect(Math.abs((times[0] ?? 0) - (now - 7 * DAY_MS))).toBeLessThan(5 * MINUTE_MS);
      expect(Math.abs((times[1] ?? 0) - (now + 5 * MINUTE_MS))).toBeLessThan(5 * MINUTE_MS);
    });

    it("has a wrong clock's counts in the same minute before they are folded and after", async () => {
      const ahead = Math.floor(now / MINUTE_MS) + 20;
      await append(batch(1, [delta({ minute: ahead })]));
      const [startTime, endTime] = [new Date(now - DAY_MS), new Date(now + DAY_MS)];
      const query = { keyId, startTime, endTime, step: "minute", groupBy: [], limit: 100 } as const;
      const times = async () => (await storage.read((database) => queryUsage(database, query))).map((c) => c.startTime);
      const before = await times();
      await fold();
      expect(await times()).toEqual(before);
    });

    it("says what was charged on a day, before it is folded and after", async () => {
      const day = new Date(Math.floor(now / DAY_MS) * DAY_MS);
      await append(batch(1, [delta({ count: 3, cost: 30 }), delta({ verdict: "rate_limited", cost: 0 })]));
      const charged = () => storage.read((database) => readCharged(database, keyId, day));
      expect(await charged()).toBe(30);
      await fold();
      expect(await charged()).toBe(30);
    });

    it("makes partitions for now and next, moves in what came before them, and drops old ones", async () => {
      const names = async () => {
        const rows = await storage.read((database) =>
          database
            .select({ name: sql<string>`relname` })
            .from(sql`pg_class`)
            .where(sql`relname ~ '^usage_(minute|hour)_[0-9]+$' and relkind = 'r'`),
        );
        return rows.map(({ name }) => name).sort();
      };
      const kept = { minutesMs: DEFAULT_POLICY.usage.minutesMs, hoursMs: DEFAULT_POLICY.usage.hoursMs };
      const today = new Date(now).toISOString().slice(0, 10).replaceAll("-", "");
      const renew = async () => {
        await storage.read(makePartitions);
        await storage.read((database) => dropPartitions(database, kept));
      };
      await renew();
      const made = await names();
      expect(made).toHaveLength(4);
      expect(made).toContain(`usage_minute_${today}`);
      expect(made).toContain(`usage_hour_${today.slice(0, 6)}01`);
      await append(batch(1));
      await fold();
      if (claviger.databaseUrl !== undefined) {
        await asOwner(claviger.databaseUrl, async (owner) => {
          // As if the service had been away when they were due.
          await owner
            .read((database) =>
              database.execute(
                sql.raw(
                  `with gone as (delete from usage_minute_${today} returning *) insert into usage_minute_default select * from gone`,
                ),
              ),
            )
            .catch(() => undefined);
          await owner.read((database) =>
            database.execute(sql.raw(`alter table usage_minute detach partition usage_minute_${today}`)),
          );
          await owner.read((database) =>
            database.execute(sql.raw(`insert into usage_minute select * from usage_minute_${today}`)),
          );
          await owner.read((database) => database.execute(sql.raw(`drop table usage_minute_${today}`)));
          await owner.read((database) =>
            database.execute(
              sql.raw(
                `create table usage_minute_20200101 partition of usage_minute for values from ('2020-01-01Z') to ('2020-01-02Z')`,
              ),
            ),
          );
        });
        expect(await total("minute")).toBe(1);
        await renew();
        expect(await names()).toEqual(made);
        expect(await total("minute")).toBe(1);
      }
    });
  });
});

describeWithPostgres("the usage ledger, of several processes", () => {
  let claviger: TestClaviger;
  let storages: Storage[];
  let keyId: string;

  beforeAll(async () => {
    claviger = await startClaviger("postgres", STILL);
    const url = new URL(claviger.databaseUrl ?? "");
    const connect = () => connectPostgres({ url: url.href, role: "claviger_app", ...DEFAULT_POLICY.postgres });
    storages = [1, 2, 3].map(() => new Storage({ connect, timeoutMs: 10_000 }));
    keyId = (await makeKey(claviger.admin, { owner: "many" })).id;
  });
  afterAll(async () => {
    for (const storage of storages ?? []) await storage.close();
    await claviger?.close();
  });
  const batchOf = (epoch: string, seq: number): UsageBatch => {
    const minute = Math.floor(Date.now() / MINUTE_MS);
    const delta = {
      keyId,
      callerId: "",
      version: 1,
      verdict: "valid",
      method: "",
      minute,
      count: 1,
      cost: 1,
      lastSecond: 1,
    } as const;
    return { epoch, seq, deltas: [delta] };
  };
  const hours = async () => {
    const [row] = await claviger.storage.read((database) =>
      database.select({ sum: sql`coalesce(sum(count), 0)`.mapWith(Number) }).from(usageHour),
    );
    return row?.sum ?? 0;
  };

  it("takes a batch once that comes on three connections at once", async () => {
    for (let seq = 1; seq <= 20; seq++) {
      const sent = await Promise.all(
        storages.map((storage) => storage.write((database) => appendUsage(database, batchOf("thrice", seq)))),
      );
      expect(sent.sort()).toEqual(["known", "known", "taken"]);
    }
    await claviger.storage.write((database) => foldUsage(database, 1000));
    expect(await hours()).toBe(20);
  });

  it("shows a total that never goes down and never too much, while three fold and one queries", async () => {
    const before = await hours();
    const query = { keyId, startTime: new Date(Date.now() - DAY_MS), endTime: new Date(Date.now() + DAY_MS) };
    let appended = 0;
    let running = true;
    const folding = storages.map(async (storage) => {
      while (running) await storage.write((database) => foldUsage(database, 5));
    });
    let last = 0;
    const watching = (async () => {
      while (running) {
        const atLeast = appended;
        const counts = await claviger.storage.read((database) =>
          queryUsage(database, { ...query, step: "hour", groupBy: [], limit: 100 }),
        );
        const total = counts.reduce((sum, { count }) => sum + count, 0) - before;
        expect(total).toBeGreaterThanOrEqual(Math.max(last, atLeast));
        expect(total).toBeLessThanOrEqual(appended + 1);
        last = total;
      }
    })();
    for (let seq = 1; seq <= 150; seq++) {
      await claviger.storage.write((database) => appendUsage(database, batchOf("watched", seq)));
      appended += 1;
    }
    running = false;
    await Promise.all([...folding, watching]);
    while ((await claviger.storage.write((database) => foldUsage(database, 1000))).batches > 0);
    expect(await hours()).toBe(before + 150);
  });

  it("makes and drops partitions while a reader is under way, and nobody deadlocks", async () => {
    const [one, two, three] = storages as [Storage, Storage, Storage];
    await asOwner(claviger.databaseUrl ?? "", async (owner) => {
      await owner.read((database) =>
        database.execute(
          sql`create table usage_minute_20200102 partition of usage_minute for values from ('2020-01-02Z') to ('2020-01-03Z')`,
        ),
      );
    });
    const reading = one.transaction(async (transaction) => {
      await transaction.select().from(usageMinute).limit(1);
      await new Promise((done) => setTimeout(done, 300));
      return transaction.$count(usageHour);
    });
    await new Promise((done) => setTimeout(done, 50));
    const kept = { minutesMs: DEFAULT_POLICY.usage.minutesMs, hoursMs: DEFAULT_POLICY.usage.hoursMs };
    const making = two.read(makePartitions).then(() => two.read((database) => dropPartitions(database, kept)));
    await new Promise((done) => setTimeout(done, 50));
    const query = { keyId, startTime: new Date(Date.now() - DAY_MS), endTime: new Date(), step: "minute" } as const;
    const asking = three.read((database) => queryUsage(database, { ...query, groupBy: [], limit: 10 }));
    await Promise.all([reading, making, asking]);
  });

  it("control: a query in two statements, with a fold in between, counts twice", async () => {
    await claviger.storage.write((database) => appendUsage(database, batchOf("control", 1)));
    const before = await hours();
    const [waiting] = await claviger.storage.read((database) =>
      database.select({ size: sql`sum(size)`.mapWith(Number) }).from(usageBatch),
    );
    await claviger.storage.write((database) => foldUsage(database, 1000));
    expect((waiting?.size ?? 0) + (await hours())).toBe(before + 2);
  });

  it("control: a flush without its number in the source doubles what is sent again", async () => {
    const before = await hours();
    for (const epoch of ["again-1", "again-2"]) {
      await claviger.storage.write((database) => appendUsage(database, { ...batchOf("again", 1), epoch }));
    }
    await claviger.storage.write((database) => foldUsage(database, 1000));
    expect(await hours()).toBe(before + 2);
  });

  it("control: folding under a session's lock over a pool lets two fold the same", async () => {
    const before = await hours();
    await claviger.storage.write((database) => appendUsage(database, batchOf("session", 1)));
    // A pool gives each statement another connection: the lock is one session's, the work another's.
    const [one, two] = storages as [Storage, Storage];
    const read = (storage: Storage) =>
      storage.read((database) =>
        database.execute(sql`select pg_try_advisory_lock(1)`).then(() => database.select().from(usageBatch)),
      );
    const seen = await Promise.all([read(one), read(one).then(() => read(two))]);
    for (const [at, storage] of [one, two].entries()) {
      const rows = (seen[at] ?? []).length;
      await storage.read((database) =>
        database.execute(sql`insert into usage_hour select date_trunc('hour', clock_timestamp(), 'UTC'), ${keyId}, '', 1, 'valid', '', ${rows}, 0
          on conflict (key_id, time, caller_id, version, verdict, method) do update set count = usage_hour.count + excluded.count`),
      );
    }
    expect(await hours()).toBeGreaterThan(before + 1);
    await claviger.storage.read((database) => database.delete(usageBatch));
    await claviger.storage.read((database) => database.select().from(usageSource));
  });
});

async function asOwner(url: string, work: (owner: Storage) => Promise<void>): Promise<void> {
  const connect = () => connectPostgres({ url, role: undefined, ...DEFAULT_POLICY.postgres });
  const owner = new Storage({ connect, timeoutMs: 10_000 });
  try {
    await work(owner);
  } finally {
    await owner.close();
  }
}
