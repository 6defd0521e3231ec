import { isDeepStrictEqual } from "node:util";
import type { Caller } from "../access/caller.ts";
import { isOwnerAsUser, requireChangeable, requireGrantable, requireLoosenable } from "../access/permissions.ts";
import { allowsAtMost } from "../keys/cidrs.ts";
import { heldAfter, loosened } from "../keys/held-fields.ts";
import type { JsonObject, KeyRecord, KeyView } from "../keys/key.ts";
import { isLowered } from "../keys/limits.ts";
import { missingScopes } from "../keys/scopes.ts";
import type { ManageDeps } from "./deps.ts";
import { lockKeyAndCaller } from "./steps/lock.ts";
import { requireEtag, requireLimiter, requireUnrevoked } from "./steps/preconditions.ts";
import { record } from "./steps/record.ts";
import { type Receipt, settle } from "./steps/settle.ts";
import { viewSecrets } from "./steps/view.ts";
import { writeChange } from "./steps/write-change.ts";

/** The fields that an update may name. A set field is replaced as a whole. */
export type KeyUpdate = Partial<
  Pick<KeyRecord, "displayName" | "scopes" | "labels" | "metadata" | "allowedCidrs" | "disabled" | "limits">
>;

export interface UpdateKey {
  readonly keyId: string;
  /** Empty: the last writer wins. */
  readonly etag: string;
  readonly update: KeyUpdate;
}

/**
 * Changes a key. A change that takes something away returns a receipt; a change that gives something needs the right to
 * grant it. An update to the current values changes nothing, not even the etag.
 */
export async function updateKey(
  deps: ManageDeps,
  caller: Caller,
  command: UpdateKey,
): Promise<{ readonly view: KeyView; readonly receipt: Receipt | undefined }> {
  const { update } = command;
  const { view, narrows, changed } = await deps.storage.transaction(async (transaction) => {
    const held = await lockKeyAndCaller(transaction, command.keyId, { caller, permission: "claviger:keys.write" });
    const { key } = held;
    const next = { ...key, ...update };
    if (widens(key, next)) requireGrantable(held.caller, [...key.scopes, ...next.scopes]);
    requireChangeable(held.caller, key, isDisabling(update) ? "ends" : "changes");
    requireLoosenable(held.caller, key, loosened(key, next));
    requireUnrevoked(key);
    requireEtag(key, command.etag);
    if (update.limits) requireLimiter(deps);
    const narrows = isNarrower(key, next);
    const change = isOwnerAsUser(caller, key.owner) ? update : { ...update, held: heldAfter(key.held, next, update) };
    if (changesNothing(key, change)) {
      const { now, identity } = held;
      const view = { key, secrets: await viewSecrets(transaction, key, now).send(), now, identity };
      return { view, narrows, changed: false };
    }
    const details = detailsOf(key, update);
    const happening = { action: "key.updated", keyId: key.id, owner: key.owner, time: held.now, details } as const;
    const before = record(transaction, { deps, caller }, [happening]);
    return writeChange(transaction, held, { change, narrows, before }).map((view) => ({
      view,
      narrows,
      changed: true,
    }));
  });
  const receipt = await settle(deps, { ...view, changed });
  return { view, receipt: narrows ? receipt : undefined };
}

function changesNothing(key: KeyRecord, change: Partial<KeyRecord>): boolean {
  return isDeepStrictEqual({ ...key, ...change }, key);
}

/** Verification's fields are logged with their old and new values, other fields by name. */
function detailsOf({ scopes, allowedCidrs, disabled, limits }: KeyRecord, update: KeyUpdate): JsonObject {
  return {
    fields: Object.keys(update),
    ...(update.scopes && { scopes: { from: [...scopes], to: [...update.scopes] } }),
    ...(update.allowedCidrs && { allowed_cidrs: { from: [...allowedCidrs], to: [...update.allowedCidrs] } }),
    ...(update.limits !== undefined && {
      limits: { from: limits && { ...limits }, to: update.limits && { ...update.limits } },
    }),
    ...(update.disabled !== undefined && { disabled: { from: disabled, to: update.disabled } }),
  };
}

function widens(before: KeyRecord, next: KeyRecord): boolean {
  return missingScopes(before.scopes, next.scopes).length > 0 || loosened(before, next).length > 0;
}

/** Whether the update only disables the key. */
function isDisabling(update: KeyUpdate): boolean {
  return update.disabled === true && Object.keys(update).length === 1;
}

/** Also true for a key that is and stays disabled: a repeated request to disable it must wait for the first. */
function isNarrower(before: KeyRecord, next: KeyRecord): boolean {
  return (
    next.disabled ||
    missingScopes(next.scopes, before.scopes).length > 0 ||
    !allowsAtMost(before.allowedCidrs, next.allowedCidrs) ||
    isLowered(before.limits, next.limits)
  );
}
