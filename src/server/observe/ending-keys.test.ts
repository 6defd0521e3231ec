import { beforeEach, expect, it } from "vitest";
import { fakeFound, NOW } from "../../../testkit/fakes/fake-found.ts";
import { EndingKeys, NO_END_SECONDS } from "./ending-keys.ts";

const DAY_MS = 86_400_000;
let lines: Record<string, unknown>[];
let monotonicMs: number;
let keys: EndingKeys;

beforeEach(() => {
  lines = [];
  monotonicMs = 0;
  const warn = (about: object, message: string) => void lines.push({ ...about, message });
  keys = new EndingKeys({ log: { warn } as never, monotonicMs: () => monotonicMs });
});

const service = (days: number, changes: { readonly key?: object; readonly version?: number } = {}) =>
  fakeFound("key_1", {
    key: { scopes: ["claviger:verify"], ...changes.key },
    secret: { version: changes.version ?? 1, expireTime: new Date(NOW.getTime() + days * DAY_MS) },
  });

it("warns once at 14, 3 and 1 days before the end of a service's secret, with key, owner and end", () => {
  for (const days of [20, 13, 12.5, 4, 2.5, 2, 0.9, 0.1]) keys.note(service(days));
  expect(lines.map(({ message }) => /within (\d+ days?)/.exec(String(message))?.[1])).toEqual([
    "14 days",
    "3 days",
    "1 day",
  ]);
  expect(lines[0]).toMatchObject({ event: "key.ends", keyId: service(1).key.id, owner: service(1).key.owner });
  expect(keys.soonestEndSeconds()).toBe((NOW.getTime() + 0.1 * DAY_MS) / 1000);
});

it("says nothing of keys without a scope of Claviger, and of those that are over", () => {
  keys.note(service(1, { key: { scopes: ["orders:read"] } }));
  keys.note(service(1, { key: { disabled: true } }));
  keys.note(service(-1));
  expect(lines).toEqual([]);
  expect(keys.soonestEndSeconds()).toBe(NO_END_SECONDS);
});

it("forgets a secret that is not in use any more, as after a rotation", () => {
  keys.note(service(1));
  monotonicMs += 3_600_001;
  keys.note(service(80, { version: 2 }));
  expect(keys.soonestEndSeconds()).toBe(NO_END_SECONDS);
});
