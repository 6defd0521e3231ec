import { create } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { beforeEach, expect, it } from "vitest";
import { SyncResponseSchema, VerifyRequestSchema } from "#gen/claviger/v1/key_verifier_pb.js";
import { Lease } from "../verify/lease.ts";
import { FakeTimers } from "./fake-timers.ts";
import { SyncLink, type SyncListener } from "./sync-link.ts";

let timers: FakeTimers;
let listeners: SyncListener[];

beforeEach(() => {
  timers = new FakeTimers();
  listeners = [];
});

/** A link whose streams lead nowhere, and which has asked for its first lease. */
function openLink(onBroken: (error: unknown) => void): SyncLink {
  const clocks = { monotonicMs: () => 0, wallMs: () => 0 };
  const link = new SyncLink({
    ...{ lease: new Lease(clocks), clocks, timers, jitter: () => 0, clockRateError: 0.02, onBroken },
    ...{ cache: { apply: () => {}, clear: () => {} }, patienceMs: 1500, retryMs: { first: 100, most: 5000 } },
    open: (listener) => {
      listeners.push(listener);
      return { send: () => {}, close: () => {} };
    },
  });
  link.start();
  return link;
}

const request = create(VerifyRequestSchema, { secret: "s" });

function grantOf(nonce: bigint) {
  const value = { nonce, remaining: durationFromMs(1000), revision: 7n };
  return create(SyncResponseSchema, { message: { case: "lease", value } });
}

it("whoever is told of a broken stream may throw: questions end, and another stream is opened", async () => {
  const link = openLink(() => {
    throw new Error("somebody else's");
  });
  listeners[0]?.onMessage(grantOf(1n));
  const asked = link.ask(request);
  expect(() => listeners[0]?.onBroken(new Error("broke"))).toThrow("somebody else's");
  await expect(asked).rejects.toThrow("the stream to the server broke");
  await timers.pass(100);
  expect([listeners.length, link.isAttached]).toEqual([2, false]);
});

it("whoever is told of a broken stream may close: no other is opened", async () => {
  const link = openLink(() => link.close());
  listeners[0]?.onBroken(new Error("broke"));
  await timers.pass(10_000);
  expect([listeners.length, link.state]).toEqual([1, "closed"]);
});

it("an answer of a stream before is not heard", async () => {
  const link = openLink(() => {});
  listeners[0]?.onBroken(new Error("broke"));
  await timers.pass(100);
  const grant = grantOf(2n);
  listeners[0]?.onMessage(grant);
  expect([link.state, link.isAttached, link.appliedRevision]).toEqual(["attaching", false, 0]);
  listeners[1]?.onMessage(grant);
  expect([link.state, link.isAttached, link.appliedRevision]).toEqual(["leased", true, 7]);
});
