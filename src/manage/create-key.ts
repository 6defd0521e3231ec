import { actorOf, type Caller } from "../access/caller.ts";
import { ADMIN_OWNER, confineOwner, isOwnerAsUser, requireGrantable } from "../access/permissions.ts";
import { invalidField } from "../keys/errors.ts";
import { heldAfter } from "../keys/held-fields.ts";
import type { KeyRecord, KeyView } from "../keys/key.ts";
import { newKeyId } from "../keys/key-id.ts";
import { isReservedOwner, ownerProblem, RESERVED_OWNERS } from "../keys/owner.ts";
import type { Secret } from "../keys/secret.ts";
import { insertKey } from "../postgres/keys.ts";
import { lockOwner } from "../postgres/owners.ts";
import { insertSecret } from "../postgres/secrets.ts";
import { Ending } from "../postgres/statements.ts";
import { listKnownRoots } from "../postgres/verifiers.ts";
import type { ManageDeps } from "./deps.ts";
import { claimRequest } from "./steps/claim-request.ts";
import { lockCaller } from "./steps/lock.ts";
import { after, chooseSpan, requireLimiter, requirePlace } from "./steps/preconditions.ts";
import { record } from "./steps/record.ts";

/** `owner` is empty for the caller's own. */
export interface CreateKey
  extends Pick<
    KeyRecord,
    "owner" | "displayName" | "environment" | "scopes" | "labels" | "metadata" | "allowedCidrs" | "limits"
  > {
  /** Undefined for the default. */
  readonly ttlMs: number | undefined;
  /** Empty, or a UUID under which the caller creates at most one key. */
  readonly requestId: string;
}

/** Creates a key and its first secret, which exists only in the answer. */
export async function createKey(
  deps: Omit<ManageDeps, "revoker">,
  caller: Caller,
  command: CreateKey,
): Promise<{ readonly view: KeyView; readonly secret: Secret }> {
  const { policy, storage } = deps;
  const ttlMs = chooseSpan("ttl", command.ttlMs, { default: policy.maxTtlMs, max: policy.maxTtlMs });
  if (command.limits !== null) requireLimiter(deps);
  const owner = chooseOwner(caller, command.owner);
  const made = await storage.transaction(async (transaction) => {
    await lockOwner(transaction, owner);
    const locked = await lockCaller(transaction, caller, "claviger:keys.write");
    requireGrantable(locked.caller, command.scopes);
    const { now } = locked;
    const id = newKeyId(now, deps.random);
    const { requestId, ...payload } = { ...command, owner, ttlMs };
    await claimRequest(transaction, caller, { method: "CreateKey", requestId, payload, keyId: id, version: 1, now });
    await requirePlace(transaction, { id, owner }, policy);

    const minted = deps.keyring.mint(command.environment, deps.random, await listKnownRoots(transaction));
    const { environment, displayName, scopes, labels, metadata, allowedCidrs, limits } = command;
    const restrictions = { disabled: false, limits, allowedCidrs };
    const held = isOwnerAsUser(caller, owner) ? [] : heldAfter([], restrictions, restrictions);
    const key: KeyRecord = {
      ...{ id, owner, displayName, environment, scopes, labels, metadata, allowedCidrs, limits },
      ...{ disabled: false, currentVersion: 1, ttlMs, createTime: now, updateTime: now, createdBy: actorOf(caller) },
      ...{ revokeTime: null, revokedBy: null, revokeReason: null, revokeNote: "", revision: 0 },
      ...{ narrowedRevision: 0, settledRevision: 0, held },
    };
    const { secret, digest, rootId, hint } = minted;
    const first = {
      keyId: key.id,
      version: 1,
      hint,
      createTime: now,
      expireTime: after(now, ttlMs),
      retireTime: null,
    };
    const details = {
      display_name: displayName,
      environment,
      scopes: [...scopes],
      expire_time: first.expireTime.toISOString(),
    };
    const happening = { action: "key.created", keyId: id, owner, time: now, details } as const;
    const last = [
      insertKey(transaction, key),
      insertSecret(transaction, { ...first, digest, rootId }),
      ...record(transaction, { deps, caller }, [happening]),
    ];
    return Ending.of(last, [], () => ({ view: { key, secrets: [first], now }, secret }));
  });
  deps.log.info({ event: "key.created", keyId: made.view.key.id, owner, actor: actorOf(caller) }, "key created");
  return made;
}

function chooseOwner(caller: Caller, asked: string): string {
  const own = caller.kind === "system" ? ADMIN_OWNER : caller.kind === "anonymous" ? "" : caller.owner;
  const owner = confineOwner(caller, asked) || own;
  // The caller's own owner was accepted before, perhaps under older rules.
  if (owner === own) return owner;
  const problem = ownerProblem(owner);
  if (problem !== undefined) throw invalidField("owner", problem);
  if (isReservedOwner(owner)) {
    throw invalidField(
      "owner",
      `owners that begin with ${RESERVED_OWNERS} are reserved, however written; name another`,
    );
  }
  return owner;
}
