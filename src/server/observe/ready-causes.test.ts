import { expect, it } from "vitest";
import { type ReadinessState, readinessOf } from "./ready-causes.ts";

const WELL: ReadinessState = {
  ...{ isDraining: false, canRead: true, canManage: true, lease: "leased", canConfirm: false },
  redis: new Map([["bus", true]]),
};
const WITHOUT_STORAGE = { canRead: false, canManage: false } as const;

it.each<readonly [string, Partial<ReadinessState>, boolean, Record<string, string>]>([
  ["all is well", {}, true, {}],
  ["it is stopping", { isDraining: true }, false, { draining: "failing" }],
  [
    "it has not registered",
    { ...WITHOUT_STORAGE, lease: "registering" },
    false,
    { storage: "failing", lease: "failing" },
  ],
  ["storage is away", WITHOUT_STORAGE, false, { storage: "failing" }],
  ["only changes fail", { canManage: false }, true, { storage: "warning" }],
  ["the lease has lapsed and storage answers", { lease: "lapsed" }, true, { lease: "warning" }],
  [
    "storage is away and the revocation set can be trusted",
    { ...WITHOUT_STORAGE, lease: "lapsed", canConfirm: true },
    true,
    { storage: "warning", lease: "warning" },
  ],
  ["Redis is away", { redis: new Map([["bus", false]]) }, true, { redis: "warning" }],
])("where %s, each cause is named and only a process that cannot verify is not ready", (_, change, ready, not) => {
  const readiness = readinessOf({ ...WELL, ...change });
  expect(readiness.ready).toBe(ready);
  const shown = Object.entries(readiness.causes).filter(([, { status }]) => status !== "ok");
  expect(Object.fromEntries(shown.map(([name, { status }]) => [name, status]))).toEqual(not);
});
