import fc from "fast-check";
import { pino } from "pino";
import { expect, it } from "vitest";
import type { Caller } from "../access/caller.ts";
import { ClavigerError } from "../keys/errors.ts";
import type { Denial } from "../manage/steps/record.ts";
import { Denials } from "./denials.ts";

const MINUTE = 60_000;

function harness() {
  const clock = { ms: 0 };
  const storage = { isAway: false };
  const written: (Denial & { readonly by: string })[] = [];
  const denials = new Denials({
    write: async (caller, denial) => {
      if (storage.isAway) throw new Error("storage is away");
      written.push({ by: "owner" in caller ? caller.owner : "", ...denial });
    },
    ...{ log: pino({ level: "silent" }), monotonicMs: () => clock.ms },
    ...{ onFailure: () => undefined, onWritten: () => undefined },
  });
  const deny = (owner: string, { keyId, method = "GetKey" }: { keyId?: string; method?: string } = {}) =>
    denials.record({
      caller: { ...USER, owner },
      method: `claviger.v1.KeyManagement/${method}`,
      error: new ClavigerError("PERMISSION_DENIED", "no. Ask"),
      about: keyId === undefined ? {} : { keyId },
    });
  return { clock, storage, written, denials, deny };
}

const USER: Extract<Caller, { kind: "user" }> = {
  ...{ kind: "user", owner: "", isAdmin: false, grantableScopes: [] },
  ...{ address: "", requestId: "" },
};

it("the first denial is written at once, the rest of the minute as one event with their number", async () => {
  const { clock, written, denials, deny } = harness();
  await deny("ada");
  expect(written).toEqual([{ by: "ada", methods: ["GetKey"], reason: "PERMISSION_DENIED" }]);
  for (let turn = 0; turn < 500; turn++) await deny("ada", { method: turn % 2 === 0 ? "GetKey" : "ListKeys" });
  clock.ms = MINUTE - 1;
  await denials.flush();
  expect(written).toHaveLength(1);
  clock.ms = MINUTE;
  await denials.flush();
  const rest = { by: "ada", methods: ["GetKey", "ListKeys"], reason: "PERMISSION_DENIED", count: 500 };
  expect(written.slice(1)).toEqual([rest]);
});

it("a denial that could not be written is counted with the rest of the minute", async () => {
  const { clock, storage, written, denials, deny } = harness();
  storage.isAway = true;
  await deny("ada", { keyId: "key_1" });
  storage.isAway = false;
  await deny("ada", { method: "ListKeys" });
  expect(written).toEqual([]);
  clock.ms = MINUTE;
  await denials.flush();
  expect(written).toEqual([{ by: "ada", methods: ["GetKey", "ListKeys"], reason: "PERMISSION_DENIED", count: 2 }]);
});

it("each key that is named has its denial, up to ten", async () => {
  const { written, deny } = harness();
  for (let turn = 0; turn < 100; turn++) await deny("ada", { keyId: `key_${turn % 20}` });
  expect(written.map(({ keyId }) => keyId)).toEqual(Array.from({ length: 10 }, (_, at) => `key_${at}`));
});

it("no denial is lost or counted twice, and a caller has two events a minute, whatever comes when", async () => {
  const steps = fc.array(fc.record({ owner: fc.constantFrom("ada", "eve", "bob"), afterMs: fc.nat(MINUTE) }));
  await fc.assert(
    fc.asyncProperty(steps, async (calls) => {
      const { clock, written, denials, deny } = harness();
      for (const { owner, afterMs } of calls) {
        clock.ms += afterMs;
        await deny(owner);
      }
      await denials.close();
      for (const owner of ["ada", "eve", "bob"]) {
        const own = written.filter(({ by }) => by === owner);
        const denied = own.reduce((sum, { count = 1 }) => sum + count, 0);
        expect(denied).toBe(calls.filter((call) => call.owner === owner).length);
        expect(own.length).toBeLessThanOrEqual(2 * (1 + clock.ms / MINUTE));
      }
    }),
  );
});

it("more callers than are remembered are counted in bounded memory, and none of their denials is lost", async () => {
  const { written, denials, deny } = harness();
  for (let caller = 0; caller < 30_000; caller++) {
    await deny(`user-${caller}`);
    await deny(`user-${caller}`);
  }
  expect(written.length).toBeGreaterThanOrEqual(30_000 + 19_000);
  await denials.close();
  expect(written.reduce((sum, { count = 1 }) => sum + count, 0)).toBe(60_000);
});
