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
export function createLeaseRegistry({ leases, others, self }: LeaseRegistryOptions) {
  return {
    register: (registrant: Pick<NewVerifier, "epoch" | "termMs">) =>
      leases.write((database) => registerVerifier(database, { ...registrant, ...self() })),
    renew: (lease: Parameters<typeof renewVerifier>[1]) => leases.write((database) => renewVerifier(database, lease)),
    leave: (epoch: string) => leases.write((database) => removeVerifier(database, epoch)),
    list: () => others.read(listHolders),
    collect: ({ epoch, renewSeq }: { readonly epoch: string; readonly renewSeq: number }) =>
      others.write((database) => collectVerifier(database, epoch, renewSeq)),
    reconnect: () => leases.reconnect(),
  };
}
