import { beforeEach, describe, expect, it } from "vitest";
import { FakeClocks } from "../../testkit/fakes/fake-clocks.ts";
import { FakeRegistry } from "../../testkit/fakes/fake-registry.ts";
import { Lease } from "../verify/lease.ts";
import { InProcessBus } from "./change-bus.ts";
import { Feed } from "./feed.ts";
import { LeaseKeeper } from "./lease-keeper.ts";

const TERM_MS = 3000;

let clocks: FakeClocks;
let registry: FakeRegistry;
let bus: InProcessBus;
let lease: Lease;
let applied: (readonly string[] | "all")[];
let feed: Feed;
let keeper: LeaseKeeper;
let databases: string[];
let lost: object[];

beforeEach(async () => {
  clocks = new FakeClocks();
  registry = new FakeRegistry();
  bus = new InProcessBus();
  lease = new Lease(clocks);
  applied = [];
  databases = [];
  lost = [];
  const cache = {
    apply: (keyIds: readonly string[] | "all") => void applied.push(keyIds),
    clear: () => void applied.push("all"),
  };
  feed = new Feed({ epoch: "me", cache, bus, clocks });
  keeper = new LeaseKeeper({
    ...{ epoch: "me", termMs: TERM_MS, registry, lease, feed, clocks, timers: clocks },
    jitter: () => 1,
    onDatabase: (identity) => databases.push(identity),
    onLost: (revisions) => lost.push(revisions),
  });
  await keeper.start();
});

const away = () => Promise.reject(new Error("away"));

describe("a lease keeper", () => {
  it("registers, drops the cache, and renews four times per term", async () => {
    expect([keeper.state, applied]).toEqual(["leased", ["all"]]);
    await clocks.pass(TERM_MS);
    expect(registry.calls).toEqual(["register", "renew", "renew", "renew", "renew"]);
    expect(keeper.state).toBe("leased");
  });

  it("counts the term from before its request, however late the answer", async () => {
    const gate = Promise.withResolvers<void>();
    registry.before = () => gate.promise;
    await clocks.pass(750);
    await clocks.pass(1000);
    gate.resolve();
    registry.before = away;
    await clocks.pass(0);
    await clocks.pass(TERM_MS - 1000 - 1);
    expect(keeper.state).toBe("leased");
    await clocks.pass(1);
    expect(keeper.state).toBe("lapsed");
  });

  it("applies the changes of a renewal before the lease grows, and acknowledges them at once", async () => {
    registry.change("key_a");
    await clocks.pass(750);
    await clocks.pass(0);
    expect(applied).toEqual(["all", ["key_a"]]);
    expect(registry.rows.get("me")?.ackedRevision).toBe(1);
    expect(registry.calls).toEqual(["register", "renew", "renew"]);
  });

  it("lapses without renewals, and comes back within a quarter term of the database's return", async () => {
    registry.before = away;
    await clocks.pass(TERM_MS + 750);
    expect([keeper.state, keeper.isAway]).toEqual(["lapsed", true]);
    registry.before = async () => undefined;
    await clocks.pass(TERM_MS / 4);
    expect([keeper.state, keeper.isAway]).toEqual(["leased", false]);
    expect(keeper.registrations).toBe(1);
  });

  it("gives up an attempt without an answer, and drops a late answer", async () => {
    const gate = Promise.withResolvers<void>();
    registry.before = () => gate.promise;
    await clocks.pass(750 + TERM_MS / 2);
    expect(registry.calls).toContain("reconnect");
    registry.before = away;
    gate.resolve();
    await clocks.pass(TERM_MS);
    expect(keeper.state).toBe("lapsed");
  });

  it.each([
    ["it was collected", () => registry.rows.delete("me")],
    ["the feed was trimmed beyond what it has", () => Object.assign(registry, { revision: 9, trimmedRevision: 8 })],
    ["the database is another one", () => Object.assign(registry, { identity: "other" })],
  ])("registers again when %s", async (_why, happen) => {
    happen();
    await clocks.pass(750);
    await clocks.pass(1);
    expect([keeper.registrations, keeper.state]).toEqual([2, "leased"]);
    expect(applied).toEqual(["all", "all"]);
    expect(databases.at(-1)).toBe(registry.identity);
  });

  it("registers again when the revision of the database has gone back", async () => {
    registry.change("key_a");
    await clocks.pass(760);
    registry.revision = 0;
    await clocks.pass(751);
    expect(keeper.registrations).toBe(2);
    expect(feed.appliedRevision).toBe(0);
  });

  it("reports the changes that a failover lost", async () => {
    for (const keyId of ["key_a", "key_b", "key_c"]) registry.change(keyId);
    await clocks.pass(760);
    Object.assign(registry, { identity: "promoted", revision: 1 });
    await clocks.pass(751);
    expect(lost).toEqual([{ appliedRevision: 3, foundRevision: 1 }]);
    expect(keeper.lostRevisions).toBe(2);
  });

  it("reports no loss of a change that is pushed while it registers again", async () => {
    registry.change("key_a");
    await clocks.pass(760);
    registry.rows.delete("me");
    const gate = Promise.withResolvers<void>();
    registry.before = () => (registry.calls.at(-1) === "register" ? gate.promise : Promise.resolve());
    await clocks.pass(751);
    await bus.push({ revision: 2, identity: "db", keyIds: ["key_b"] });
    gate.resolve();
    await clocks.pass(1);
    expect([keeper.registrations, lost]).toEqual([2, []]);
  });

  it("takes no lease after it is closed, even if an answer arrives", async () => {
    const gate = Promise.withResolvers<void>();
    registry.before = () => gate.promise;
    await clocks.pass(750);
    keeper.close();
    gate.resolve();
    await clocks.pass(TERM_MS);
    expect(keeper.state).toBe("closing");
    expect(lease.isLive()).toBe(false);
    await keeper.leave();
    expect(registry.rows.size).toBe(0);
  });
});

describe("a feed", () => {
  beforeEach(() => keeper.start());

  it("applies the push of another database, and neither counts nor acknowledges it", async () => {
    const acks: number[] = [];
    bus.onAck(({ revision }) => acks.push(revision));
    await bus.push({ revision: 1, identity: "another", keyIds: ["key_a"] });
    expect(applied).toContainEqual(["key_a"]);
    expect([feed.appliedRevision, feed.newestRevision, acks]).toEqual([0, 0, []]);
  });

  it("applies every push, acknowledges exactly its revision, and advances only by the next revision", async () => {
    const acks: number[] = [];
    bus.onAck(({ revision }) => acks.push(revision));
    await bus.push({ revision: 2, identity: "db", keyIds: ["key_b"] });
    expect([feed.appliedRevision, feed.newestRevision]).toEqual([0, 2]);
    await bus.push({ revision: 1, identity: "db", keyIds: ["key_a"] });
    expect(feed.appliedRevision).toBe(1);
    await bus.push({ revision: 2, identity: "db", keyIds: ["key_b"] });
    expect(feed.appliedRevision).toBe(2);
    expect(acks).toEqual([2, 1, 2]);
    expect(applied).toEqual(["all", ["key_b"], ["key_a"], ["key_b"]]);
  });
});
