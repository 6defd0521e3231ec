import { afterAll, beforeAll, beforeEach, expect, it } from "vitest";
import { connectPostgres } from "../../src/postgres/connect/postgres-connection.ts";
import { trimFeed } from "../../src/postgres/feed.ts";
import { changeKeys, findKey, settleKeys } from "../../src/postgres/keys.ts";
import { createLeaseRegistry } from "../../src/postgres/lease-registry.ts";
import { findByDigests } from "../../src/postgres/secrets.ts";
import { Storage } from "../../src/postgres/storage.ts";
import { DEFAULT_POLICY } from "../../src/server/config/policy.ts";
import { startClaviger, type TestClaviger } from "../../testkit/claviger.ts";
import { describeWithPostgres } from "../../testkit/describe-with.ts";
import { makeKey } from "../rpc/make-key.ts";

const LEASE = { termMs: 3000 };

describeWithPostgres("the registry of leases in Postgres", () => {
  let claviger: TestClaviger;
  let storage: Storage;
  let registry: ReturnType<typeof createLeaseRegistry>;
  let identity: string;
  let epochs = 0;
  let epoch: string;

  function open(options: { readonly expected?: string } = {}): Storage {
    const url = new URL(claviger.databaseUrl ?? "");
    const { expected } = options;
    const refusalOf = (seen: string) => (expected === undefined || seen === expected ? undefined : "another database");
    const connect = () =>
      connectPostgres({ url: url.href, role: "claviger_app", ...DEFAULT_POLICY.postgres, refusalOf });
    return new Storage({ connect, timeoutMs: 3000 });
  }
  const change = (id: string, narrows = true) =>
    storage.transaction((transaction) =>
      changeKeys(transaction, { ids: [id], change: {}, updateTime: new Date(), narrows }).send(),
    );
  const renew = (revision: number, own = identity) =>
    registry.renew({ epoch, identity: own, appliedRevision: revision, ackedRevision: revision });
  const row = async () => (await registry.list()).find((holder) => holder.epoch === epoch);

  beforeAll(async () => {
    claviger = await startClaviger("postgres", { CLAVIGER_LEASE_MS: "60000" });
    storage = open();
    const self = () => ({ roots: ["root"], address: "here", usesRevocationSet: false });
    registry = createLeaseRegistry({ leases: storage, others: storage, self });
  });
  beforeEach(async () => {
    epoch = `epoch-${++epochs}`;
    ({ identity } = await registry.register({ ...LEASE, epoch }));
  });
  afterAll(async () => {
    await storage?.close();
    await claviger?.close();
  });

  it("brings with a renewal every key that changed since, and says up to which revision", async () => {
    const [one, two] = [
      await makeKey(claviger.admin, { owner: "feed" }),
      await makeKey(claviger.admin, { owner: "feed" }),
    ];
    const { revision } = await registry.register({ ...LEASE, epoch });
    await change(one.id);
    await change(two.id, false);
    const renewed = await renew(revision);
    expect(renewed).toMatchObject({ revision: revision + 2, identity });
    expect(new Set(renewed?.keyIds)).toEqual(new Set([one.id, two.id]));
    expect((await renew(revision + 2))?.keyIds).toEqual([]);
  });

  it("gives revisions in the order of the commits: a change waits for the one that took its revision before", async () => {
    const [one, two] = [
      await makeKey(claviger.admin, { owner: "order" }),
      await makeKey(claviger.admin, { owner: "order" }),
    ];
    const held = Promise.withResolvers<void>();
    const order: string[] = [];
    const first = storage.transaction(async (transaction) => {
      await changeKeys(transaction, { ids: [one.id], change: {}, updateTime: new Date(), narrows: true }).send();
      order.push("first has its revision");
      await held.promise;
    });
    await expect.poll(() => order).toEqual(["first has its revision"]);
    const second = change(two.id).then(() => order.push("second is committed"));
    const seen = await renew(0);
    held.resolve();
    await Promise.all([first, second]);
    expect(order.at(-1)).toBe("second is committed");
    const [last] = await change(one.id);
    expect(seen?.revision).toBe((last?.key.revision ?? 0) - 3);
  });

  it("remembers as obeyed what this database has changed, and nothing of another", async () => {
    const { id } = await makeKey(claviger.admin, { owner: "settled" });
    const [changed] = await change(id);
    const revision = changed?.key.revision ?? 0;
    const settled = async (of: string) => {
      await storage.read((database) => settleKeys(database, { keyIds: [id], revision, identity: of }));
      return (await storage.read((database) => findKey(database, id)))?.settledRevision;
    };
    expect(await settled("another")).toBe(0);
    expect(await settled(identity)).toBe(revision);
  });

  it("takes acknowledgements of this database only, never lowers them, and counts every renewal", async () => {
    await renew(5);
    await renew(3);
    expect(await row()).toMatchObject({ ackedRevision: expect.any(Number), renewSeq: 3 });
    const { ackedRevision = 0 } = (await row()) ?? {};
    expect(ackedRevision).toBeGreaterThanOrEqual(5);
    await renew(ackedRevision + 100, "another database");
    expect((await row())?.ackedRevision).toBe(ackedRevision);
  });

  it("gives up only a holder that has not renewed since, and grants it nothing until it registers again", async () => {
    const { renewSeq = 0 } = (await row()) ?? {};
    await renew(0);
    expect(await registry.collect({ epoch, renewSeq })).toBe(false);
    expect(await registry.collect({ epoch, renewSeq: renewSeq + 1 })).toBe(true);
    expect(await renew(0)).toBeUndefined();
    await registry.register({ ...LEASE, epoch });
    expect(await renew(0)).toBeDefined();
    await registry.leave(epoch);
    expect(await renew(0)).toBeUndefined();
  });

  it("says up to where the feed may be gone, before it is", async () => {
    const { id } = await makeKey(claviger.admin, { owner: "trim" });
    await change(id);
    const upTo = await storage.transaction((transaction) => trimFeed(transaction, -60_000));
    const renewed = await renew(0);
    expect(renewed).toMatchObject({ trimmedRevision: upTo, revision: upTo, keyIds: [] });
  });

  it("is not talked to through a connection to another database, nor is any secret read there", async () => {
    const elsewhere = open({ expected: "another database" });
    try {
      await expect(elsewhere.read((database) => findByDigests(database, [Buffer.alloc(32)]))).rejects.toMatchObject({
        reason: "STORAGE_UNAVAILABLE",
      });
    } finally {
      await elsewhere.close();
    }
  });
});
