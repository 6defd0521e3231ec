import { actorOf, type Caller } from "../access/caller.ts";
import { requireChangeable } from "../access/permissions.ts";
import { ClavigerError } from "../keys/errors.ts";
import type { KeyView } from "../keys/key.ts";
import { isLive } from "../keys/lifecycle.ts";
import { retireSecret as endSecret, findSecret } from "../postgres/secrets.ts";
import type { ManageDeps } from "./deps.ts";
import { lockKeyAndCaller } from "./steps/lock.ts";
import { record } from "./steps/record.ts";
import { type Receipt, settle } from "./steps/settle.ts";
import { viewSecrets } from "./steps/view.ts";
import { writeChange } from "./steps/write-change.ts";

export interface RetireSecret {
  readonly keyId: string;
  readonly version: number;
}

/** Ends one secret now, even the current one. A dead secret stays unchanged. */
export async function retireSecret(
  deps: ManageDeps,
  caller: Caller,
  command: RetireSecret,
): Promise<{ readonly view: KeyView; readonly receipt: Receipt }> {
  const { keyId, version } = command;
  const retirement = await deps.storage.transaction(async (transaction) => {
    const held = await lockKeyAndCaller(transaction, keyId, { caller, permission: "claviger:keys.revoke" });
    const { key, now, identity } = held;
    requireChangeable(held.caller, key, "ends");
    const secret = await findSecret(transaction, keyId, version);
    if (secret === undefined) throw versionNotFound(command);
    if (key.revokeTime !== null || !isLive(secret, now)) {
      const view = { key, secrets: await viewSecrets(transaction, key, now).send(), now, identity };
      return { view, changed: false };
    }
    const happening = { action: "secret.retired", keyId, owner: key.owner, time: now, details: { version } } as const;
    const before = [endSecret(transaction, secret, now), ...record(transaction, { deps, caller }, [happening])];
    return writeChange(transaction, held, { change: {}, narrows: true, before }).map((view) => ({
      view,
      changed: true,
    }));
  });
  if (retirement.changed) {
    deps.log.info({ event: "secret.retired", keyId, version, actor: actorOf(caller) }, "secret retired");
  }
  const { view, changed } = retirement;
  return { view, receipt: await settle(deps, { ...view, changed }) };
}

function versionNotFound({ keyId, version }: RetireSecret): ClavigerError {
  return new ClavigerError(
    "SECRET_VERSION_NOT_FOUND",
    `key ${keyId} has no secret version ${version}. Read the key for its versions`,
    { metadata: { key_id: keyId, version: String(version) } },
  );
}
