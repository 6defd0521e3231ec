import type { Logger } from "pino";
import type { AuditSigner } from "../audit/signer.ts";
import type { Keyring } from "../keys/keyring.ts";
import type { PageTokens } from "../keys/page-token.ts";
import type { Storage } from "../postgres/storage.ts";
import type { Revoker } from "../revocation/revoker.ts";
import type { Random } from "../system/random.ts";
import type { KeyLimits } from "./key-limit.ts";

/** The numbers that management obeys; their values and reasons stand in `server/config/policy.ts`. */
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

/** Storage as management uses it; in a server it makes each piece of work wait for its turn (`Bulkhead`). */
export type ManageStorage = Pick<Storage, "read" | "transaction">;

/** What the steps of a change need. */
export interface ManageDeps {
  readonly storage: ManageStorage;
  /** Gives every audit event that is committed its place in the chain. */
  readonly seal: () => Promise<void>;
  readonly keyring: Keyring;
  readonly pageTokens: PageTokens;
  readonly signer: AuditSigner;
  readonly random: Random;
  /** Makes changes known, and waits until they are obeyed. */
  readonly revoker: Pick<Revoker, "announce" | "settle">;
  /** Whether there is somewhere to keep limits that holds for every node. */
  readonly canLimit: boolean;
  readonly policy: ManagePolicy;
  readonly log: Logger;
}
