import { beforeEach, expect, it } from "vitest";
import type { BarrierPassed } from "./judge.ts";
import { RevocationSetWriter } from "./revocation-fallback.ts";
import type { RevocationSetStore } from "./revocation-set.ts";

const change = { revision: 7, identity: "db", keyIds: ["key_a"] };
const all = { ...change, keyIds: "all" as const };
const passed: BarrierPassed = {
  confirmed: 1,
  expired: 1,
  durationMs: 3,
  usesRevocationSet: true,
  isAcknowledgedByAll: false,
};

let calls: string[];
let store: RevocationSetStore;
/** The marker that the set in Redis has. */
let marker: string;
let writer: RevocationSetWriter;

beforeEach(() => {
  calls = [];
  marker = "valid";
  store = {
    state: () => ({ connection: 1, runId: "run" }),
    readMarker: async () => marker,
    initialise: async () => undefined,
    write: async (given, keyIds, revision) => {
      calls.push(`write ${given} ${keyIds} ${revision}`);
      return given === marker;
    },
    holds: async (given, keyIds, revision) => {
      calls.push(`holds ${given} ${keyIds} ${revision}`);
      return given === marker;
    },
    look: async () => ({ marker, floor: 0, member: 0 }),
    trim: async (given, floor) => void calls.push(`trim ${given} ${floor}`),
    close: async () => undefined,
  };
  const readMarker = async () => {
    calls.push("read the marker");
    return "valid";
  };
  writer = new RevocationSetWriter({ store, readMarker });
});

it("records a change under the marker that the change has read, without another read", async () => {
  expect(await writer.record(change, { setMarker: "valid" })).toEqual({ change, marker: "valid" });
  expect(calls).toEqual(["write valid key_a 7"]);
});

it("reads the marker for a change that has read none, and raises the floor for too many keys to name", async () => {
  expect(await writer.record(all)).toEqual({ change: all, marker: "valid" });
  expect(calls).toEqual(["read the marker", "trim valid 7"]);
});

it("never rejects, and names no marker, if Redis is away, fails, or has another set", async () => {
  const withoutRedis = new RevocationSetWriter({ store: undefined, readMarker: async () => "valid" });
  expect((await withoutRedis.record(change)).marker).toBeUndefined();
  marker = "another";
  expect((await writer.record(change, { setMarker: "valid" })).marker).toBeUndefined();
  store.write = () => Promise.reject(new Error("the connection is lost"));
  expect((await writer.record(change, { setMarker: "valid" })).marker).toBeUndefined();
});

it("confirms only what the set shows to hold", async () => {
  expect(await writer.confirm({ change, marker: "valid" }, passed)).toBe(true);
  expect(calls).toEqual(["holds valid key_a 7"]);
});

it("records once more, if the first attempt left no marker", async () => {
  expect(await writer.confirm({ change, marker: undefined }, passed)).toBe(true);
  expect(calls).toEqual(["read the marker", "write valid key_a 7", "holds valid key_a 7"]);
});

it("does not ask Redis where no verifier uses the set", async () => {
  expect(await writer.confirm({ change, marker: "valid" }, { ...passed, usesRevocationSet: false })).toBe(false);
  expect(calls).toEqual([]);
});

it("throws REVOCATION_UNCONFIRMED if the set does not hold the change, unless every holder has acknowledged it", async () => {
  marker = "another";
  const recorded = { change, marker: "valid" };
  await expect(writer.confirm(recorded, passed)).rejects.toMatchObject({ reason: "REVOCATION_UNCONFIRMED" });
  expect(await writer.confirm(recorded, { ...passed, isAcknowledgedByAll: true })).toBe(false);
});
