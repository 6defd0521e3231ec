import type { Caller } from "../access/caller.ts";
import { ClavigerError, type Reason } from "../keys/errors.ts";
import type { ManageDeps } from "../manage/deps.ts";
import { recordDenial } from "../manage/record-denial.ts";

const MANAGEMENT = "claviger.v1.KeyManagement/";

/** What is remembered: somebody known did what they may not. Strangers are not, or anybody could fill the log. */
const DENIALS: ReadonlySet<Reason> = new Set<Reason>([
  "CREDENTIAL_INVALID",
  "PERMISSION_DENIED",
  "SCOPE_NOT_GRANTABLE",
]);

/** A call that ended in an error. */
export interface RefusedCall {
  readonly caller: Caller;
  readonly method: string;
  readonly error: unknown;
  /** What the call was about, as far as it was read. */
  readonly about: { readonly keyId?: string; readonly owner?: string };
}

/** Remembers the call in the audit log if it was a denial; never fails. */
export type DenialRecorder = (call: RefusedCall) => Promise<void>;

/** Audits denied management calls. One that cannot be written is logged: the denial stands either way. */
export function createDenialRecorder(deps: ManageDeps): DenialRecorder {
  return async ({ caller, method, error, about }) => {
    if (!method.startsWith(MANAGEMENT) || caller.kind === "anonymous") return;
    if (!(error instanceof ClavigerError) || !DENIALS.has(error.reason)) return;
    const denial = { method: method.slice(MANAGEMENT.length), reason: error.reason, ...about };
    await recordDenial(deps, caller, denial).catch((failure: unknown) =>
      deps.log.error({ requestId: caller.requestId, err: failure }, "a denial could not be written to the audit log"),
    );
  };
}
