import type { LeaseRegistry } from "../revocation/lease-registry.ts";
import type { Storage } from "./storage.ts";
import {
  collectVerifier,
  listHolders,
  type NewVerifier,
  registerVerifier,
  removeVerifier,
  renewVerifier,
} from "./verifiers.ts";

export interface LeaseRegistryOptions {
  /** A connection for leases alone: a busy pool must not let them run out (docs/protocol/revocation.md#r17). */
  readonly leases: Storage;
  /** For revocations that wait, and for commands that list. */
  readonly others: Storage;
  /** How the process describes itself when it registers. */
  readonly self: () => Omit<NewVerifier, "epoch" | "termMs">;
}

/** The registry of leases in Postgres. */
export function createLeaseRegistry({ leases, others, self }: LeaseRegistryOptions): LeaseRegistry {
  return {
    register: (registrant) => leases.write((database) => registerVerifier(database, { ...registrant, ...self() })),
    renew: (lease) => leases.write((database) => renewVerifier(database, lease)),
    leave: (epoch) => leases.write((database) => removeVerifier(database, epoch)),
    list: () => others.read(listHolders),
    collect: ({ epoch, renewSeq }) => others.write((database) => collectVerifier(database, epoch, renewSeq)),
    reconnect: () => leases.reconnect(),
  };
}
