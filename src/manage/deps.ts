import type { Logger } from "pino";
import type { AuditSigner } from "../audit/signer.ts";
import type { Keyring } from "../keys/keyring.ts";
import type { PageTokens } from "../keys/page-token.ts";
import type { Storage } from "../postgres/storage.ts";
import type { Revoker } from "../revocation/revoker.ts";
import type { Random } from "../system/clocks.ts";

/** Maximum of keys per owner that are neither revoked nor expired. */
export interface KeyLimits {
  readonly keysPerOwner: number;
  /** The limits of owners with a prefix, by prefix. The longest matching prefix applies. */
  readonly keysPerOwnerPrefix: Readonly<Record<string, number>>;
}

/** The limits of management; `server/config/policy.ts` has their values and reasons. */
export interface ManagePolicy extends KeyLimits {
  readonly liveSecretsPerKey: number;
  readonly maxTtlMs: number;
  readonly defaultGraceMs: number;
  readonly maxGraceMs: number;
  readonly leaseMs: number;
  readonly revokeBatchSize: number;
  readonly retentionMs: number;
  readonly usageMinutesMs: number;
  readonly usageHoursMs: number;
  readonly usagePoints: number;
}

/** Storage for management. In a server, each piece of work waits for its turn (`Bulkhead`). */
export type ManageStorage = Pick<Storage, "read" | "transaction">;

/** The dependencies of the steps of a change. */
export interface ManageDeps {
  readonly storage: ManageStorage;
  /** Appends every committed audit event to the chain. */
  readonly seal: () => Promise<void>;
  readonly keyring: Keyring;
  readonly pageTokens: PageTokens;
  readonly signer: AuditSigner;
  readonly random: Random;
  /** Announces changes, and waits until all verifiers obey them. */
  readonly revoker: Pick<Revoker, "announce" | "settle">;
  /** Whether a limiter exists that counts for every node. */
  readonly canLimit: boolean;
  readonly policy: ManagePolicy;
  readonly log: Logger;
}
