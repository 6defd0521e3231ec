import { beforeEach, describe, expect, it } from "vitest";
import { FakeClocks } from "../../testkit/fakes/fake-clocks.ts";
import { fakeCached } from "../../testkit/fakes/fake-found.ts";
import { type Moment, readMoment } from "../system/clocks.ts";
import { RevocationSet, type RevocationSetStore } from "./revocation-set.ts";

const LASTS_MS = 900_000;
const MARKER = "run:1";
const SEEN = { marker: MARKER, floor: 0, member: 0 };

let clocks: FakeClocks;
let set: RevocationSet;
let now: () => Moment;
/** The answers of Redis, and its connection. */
let redis: {
  state: { readonly connection: number; readonly runId: string } | undefined;
  seen: { readonly marker: string | undefined; readonly floor: number; readonly member: number };
};
let applied: number;

beforeEach(() => {
  clocks = new FakeClocks();
  now = () => readMoment(clocks);
  redis = { state: { connection: 1, runId: "run" }, seen: SEEN };
  applied = 5;
  const store: Partial<RevocationSetStore> = {
    state: () => redis.state,
    readMarker: async () => MARKER,
    look: async () => redis.seen,
  };
  set = new RevocationSet({
    ...{ store: store as RevocationSetStore, clocks, lastsMs: LASTS_MS, random: (bytes) => new Uint8Array(bytes) },
    ...{ replaceMarker: async () => undefined, appliedRevision: () => applied, isAway: () => true },
  });
});

const granted = () => set.onGranted({ setMarker: MARKER, revision: 5, identity: "db" }, now());
const confirm = () => set.confirm(fakeCached("key_a", { revision: 5 }));

describe("the revocation set, while the database is away", () => {
  it("confirms an entry from the second renewal of a connection on", async () => {
    granted();
    await expect(confirm()).rejects.toMatchObject({ reason: "LEASE_UNAVAILABLE" });
    granted();
    await expect(confirm()).resolves.toBeUndefined();
  });

  it.each<[string, Partial<typeof redis>]>([
    ["the set was flushed or replaced", { seen: { ...SEEN, marker: "run:2" } }],
    ["the set was lost", { seen: { ...SEEN, marker: undefined } }],
    ["the key was changed since it was read", { seen: { ...SEEN, member: 6 } }],
    ["changes that this verifier lacks were trimmed", { seen: { ...SEEN, floor: 6 } }],
    ["the connection was lost", { state: undefined }],
    ["it is another connection", { state: { connection: 2, runId: "run" } }],
  ])("cannot say where %s", async (_, then) => {
    granted();
    granted();
    Object.assign(redis, then);
    await expect(confirm()).rejects.toMatchObject({ reason: "LEASE_UNAVAILABLE" });
  });

  it("ends after its time by either clock", async () => {
    granted();
    granted();
    await clocks.pass(LASTS_MS - 1);
    await expect(confirm()).resolves.toBeUndefined();
    await clocks.pass(1);
    await expect(confirm()).rejects.toMatchObject({ reason: "LEASE_UNAVAILABLE" });
    granted();
    await expect(confirm()).resolves.toBeUndefined();
    clocks.suspend(LASTS_MS);
    await expect(confirm()).rejects.toMatchObject({ reason: "LEASE_UNAVAILABLE" });
  });
});
