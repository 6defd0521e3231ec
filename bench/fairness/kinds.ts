import { randomUUID } from "node:crypto";
import type { Clients } from "../../testkit/connect.ts";

export type FloodName = "UpdateKey of one key" | "ListAuditEvents" | "CreateKey at the limit" | "RevokeKey of one key";

/**
 * Calls in flight, each with much work. More would be refused and repeated: a flood of cheap calls (bench `overload`).
 */
const IN_FLIGHT = 100;
/** Far beyond the 128 that may wait: what is refused comes again each second. */
const MANY_IN_FLIGHT = 500;

/** The calls of one user, and how many are in flight at once. */
export interface Flood {
  readonly calls: number;
  readonly send: (client: Clients, keyId: string) => Promise<unknown>;
}

export const FLOODS: Readonly<Record<FloodName, Flood>> = {
  "UpdateKey of one key": {
    calls: MANY_IN_FLIGHT,
    send: ({ keys }, id) =>
      keys.updateKey({ key: { id, displayName: randomUUID() }, updateMask: { paths: ["display_name"] } }),
  },
  ListAuditEvents: { calls: IN_FLIGHT, send: ({ keys }) => keys.listAuditEvents({}) },
  "CreateKey at the limit": { calls: IN_FLIGHT, send: ({ keys }) => keys.createKey({ displayName: "one more" }) },
  "RevokeKey of one key": { calls: IN_FLIGHT, send: ({ keys }, keyId) => keys.revokeKey({ keyId }) },
};
