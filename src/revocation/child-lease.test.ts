import { beforeEach, describe, expect, it } from "vitest";
import { FakeClocks } from "../../testkit/fakes/fake-clocks.ts";
import { Lease } from "../verify/lease.ts";
import { InProcessBus } from "./change-bus.ts";
import { type AgentDelay, ChildLease } from "./child-lease.ts";
import { Feed } from "./feed.ts";

const TERM_MS = 3000;
const AGENT = { keyId: "key_1", owner: "alice", address: "192.0.2.1" };

let clocks: FakeClocks;
let lease: Lease;
let bus: InProcessBus;
let feed: Feed;
let acks: number[];
/** Agents that were waited out, by acknowledged revision. */
let waitedOut: Map<number, number | undefined>;
let delays: AgentDelay[];

beforeEach(() => {
  clocks = new FakeClocks();
  lease = new Lease(clocks);
  bus = new InProcessBus();
  feed = new Feed({ epoch: "e", cache: { apply: () => undefined, clear: () => undefined }, bus, clocks });
  feed.restart({ revision: 0, identity: "db" });
  acks = [];
  waitedOut = new Map();
  delays = [];
  bus.onAck(({ revision, waitedOutAgents }) => {
    acks.push(revision);
    waitedOut.set(revision, waitedOutAgents);
  });
  leaseNode();
});

function leaseNode(): void {
  lease.grant({ monotonicMs: clocks.monotonicMs(), wallMs: clocks.wallMs() }, TERM_MS);
}

function attach(mostKeys = 10, agent = AGENT) {
  const grants: number[] = [];
  const changes: (readonly string[] | "all")[] = [];
  const child = new ChildLease({
    ...{ children: feed.children, lease, clocks, appliedRevision: () => feed.appliedRevision, mostKeys },
    ...{ agent, slowMs: 250, onDelay: (delay) => delays.push(delay) },
    stream: {
      granted: ({ remainingMs }) => grants.push(remainingMs),
      changed: ({ sequence, keyIds }) => {
        changes.push(keyIds);
        expect(sequence).toBe(changes.length);
      },
    },
  });
  return { child, grants, changes };
}

function push(revision: number, ...keyIds: string[]): Promise<void> {
  return bus.push({ revision, identity: "db", keyIds });
}

describe("a verifier inside an agent", () => {
  it("is granted the rest of the node's lease, and nothing without one", () => {
    const { child, grants } = attach();
    child.grant(1n);
    clocks.stall(1000);
    child.grant(2n);
    clocks.stall(TERM_MS);
    child.grant(3n);
    expect(grants).toEqual([TERM_MS, TERM_MS - 1000, 0]);
  });

  it("is notified of keys that it looked up, and delays no revocation of other keys", async () => {
    const { child, changes } = attach();
    child.grant(1n);
    child.lookedUp("key_a");
    await push(1, "key_b");
    expect([changes, acks, feed.ackedRevision]).toEqual([[], [1], 1]);
    await push(2, "key_a", "key_b");
    expect([changes, acks, feed.ackedRevision]).toEqual([[["key_a"]], [1], 1]);
    child.acknowledge(1);
    expect([acks, feed.ackedRevision]).toEqual([[1, 2], 2]);
  });

  it("withholds every revision that a renewal brought until it acknowledges the renewal", () => {
    const { child } = attach();
    child.grant(1n);
    child.lookedUp("key_a");
    feed.applyRenewal(4, ["key_a", "key_b"]);
    expect(feed.ackedRevision).toBe(0);
    child.acknowledge(1);
    expect(feed.ackedRevision).toBe(4);
  });

  it("withholds a revision until the lease that it held at the notification has ended, whatever it is granted since", async () => {
    const { child } = attach();
    child.grant(1n);
    child.lookedUp("key_a");
    clocks.stall(1000);
    leaseNode();
    await push(1, "key_a");
    child.grant(2n);
    clocks.stall(TERM_MS - 1001);
    expect(feed.ackedRevision).toBe(0);
    clocks.stall(1);
    expect(feed.ackedRevision).toBe(1);
  });

  it("withholds revisions after its stream has closed, until its lease ends or is given back", async () => {
    const { child } = attach();
    child.grant(1n);
    child.lookedUp("key_a");
    child.close();
    await push(1, "key_a");
    expect([acks, feed.ackedRevision, feed.children.isLeased]).toEqual([[], 0, true]);
    child.giveBack();
    expect([acks, feed.ackedRevision, feed.children.isLeased, feed.children.size]).toEqual([[1], 1, false, 0]);
  });

  it.each([
    ["gives its lease back", (child: ChildLease) => child.giveBack()],
    ["is gone", (child: ChildLease) => child.close()],
  ])("delays no revocation by a lease that it requested before it %s", (_, leave) => {
    const { child, grants } = attach();
    leave(child);
    child.grant(1n);
    expect([grants, feed.children.isLeased, feed.children.size]).toEqual([[], false, 0]);
  });

  it("drops everything when the node registers again, and withholds every revision until it has", async () => {
    const { child, changes } = attach();
    child.grant(1n);
    child.lookedUp("key_a");
    feed.restart({ revision: 7, identity: "db" });
    await push(8, "key_b");
    expect([changes, acks]).toEqual([["all"], []]);
    expect(feed.ackedRevision).toBeLessThan(7);
    child.acknowledge(1);
    expect([acks, feed.ackedRevision]).toEqual([[8], 8]);
  });

  it("drops everything when it looks up more keys than the node remembers, and is notified of later changes", async () => {
    const { child, changes } = attach(2);
    child.grant(1n);
    for (const keyId of ["key_a", "key_b", "key_b", "key_c"]) child.lookedUp(keyId);
    expect(changes).toEqual(["all"]);
    await push(1, "key_a");
    expect([changes, acks]).toEqual([["all"], []]);
    child.acknowledge(1);
    await push(2, "key_c");
    expect([changes, acks]).toEqual([["all", ["key_c"]], [1]]);
  });
});

describe("an agent that delays a change", () => {
  it("is reported when it acknowledges late, and not when it is quick", async () => {
    const { child } = attach();
    child.grant(1n);
    child.lookedUp("key_a");
    await push(1, "key_a");
    clocks.stall(249);
    child.acknowledge(1);
    await push(2, "key_a");
    clocks.stall(250);
    child.acknowledge(2);
    expect(delays).toEqual([{ agent: AGENT, heldMs: 250, ended: "acknowledged late" }]);
    expect([acks, [...waitedOut.values()], feed.children.waitedOut]).toEqual([[1, 2], [undefined, undefined], 0]);
  });

  it("is counted and reported once when its lease runs out first, with or without a stream", async () => {
    const other = { ...AGENT, keyId: "key_2" };
    const [there, gone, quick] = [attach(), attach(10, other), attach()];
    for (const { child } of [there, gone, quick]) {
      child.grant(1n);
      child.lookedUp("key_a");
    }
    await push(1, "key_a");
    await push(2, "key_b");
    quick.child.acknowledge(1);
    gone.child.close();
    clocks.stall(TERM_MS);
    expect([feed.ackedRevision, feed.children.size]).toEqual([2, 2]);
    feed.takeStock();
    there.child.acknowledge(1);
    feed.takeStock();
    expect([...waitedOut].sort()).toEqual([
      [1, 2],
      [2, undefined],
    ]);
    expect(feed.children.waitedOut).toBe(2);
    const ranOut = { heldMs: TERM_MS, ended: "lease ran out" };
    expect(delays.sort((a, b) => a.agent.keyId.localeCompare(b.agent.keyId))).toEqual([
      { agent: AGENT, ...ranOut },
      { agent: other, ...ranOut },
    ]);
  });

  it("is counted although it acknowledges before the node notices that its lease has ended", async () => {
    const { child } = attach();
    child.grant(1n);
    child.lookedUp("key_a");
    await push(1, "key_a");
    clocks.stall(TERM_MS);
    leaseNode();
    child.grant(2n);
    await push(2, "key_a");
    child.acknowledge(2);
    expect([...waitedOut]).toEqual([
      [1, 1],
      [2, undefined],
    ]);
    expect(delays).toEqual([{ agent: AGENT, heldMs: TERM_MS, ended: "lease ran out" }]);
  });

  it("is reported when it gives its lease back late", async () => {
    const { child } = attach();
    child.grant(1n);
    child.lookedUp("key_a");
    await push(1, "key_a");
    clocks.stall(1000);
    child.giveBack();
    expect(delays).toEqual([{ agent: AGENT, heldMs: 1000, ended: "gave its lease back" }]);
    expect([...waitedOut]).toEqual([[1, undefined]]);
  });
});
