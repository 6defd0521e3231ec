import { type AnonymousCaller, actorOf } from "../access/caller.ts";
import { redactSecrets } from "../keys/redact.ts";
import { isLive } from "../keys/state.ts";
import { lockKey } from "../postgres/keys.ts";
import { findByDigests, findSecret } from "../postgres/secrets.ts";
import { readDatabaseMoment } from "../postgres/time.ts";
import type { ManageDeps } from "./deps.ts";
import { record } from "./record.ts";
import { logRevocation } from "./revoke-key.ts";
import { settle } from "./settle.ts";
import { writeChange } from "./write-change.ts";

export interface ReportLeakedSecret {
  readonly secret: string;
  /** Where it was found. */
  readonly source: string;
}

/**
 * Revokes the key whose live secret is shown. Whoever holds a secret may end it; a dead one, or one that is not ours,
 * changes nothing. Returns nothing, so that nothing can be learnt by asking.
 */
export async function reportLeakedSecret(
  deps: ManageDeps,
  caller: AnonymousCaller,
  command: ReportLeakedSecret,
): Promise<void> {
  const recognition = deps.keyring.recognise(command.secret);
  if (recognition.kind !== "genuine") return;
  const { digest } = recognition;
  const report = await deps.storage.transaction(async (transaction) => {
    const found = (await findByDigests(transaction, [digest])).get(digest.toString("hex"));
    if (found === undefined) return undefined;
    const key = await lockKey(transaction, found.key.id, "update");
    const secret = await findSecret(transaction, found.key.id, found.secret.version);
    const moment = await readDatabaseMoment(transaction);
    const { now } = moment;
    if (key === undefined || secret === undefined) return undefined;
    const actor = { ...actorOf(caller), keyId: key.id };
    // Whoever reports a leak is likely to paste it into the source as well.
    const source = redactSecrets(command.source);
    const about = { keyId: key.id, owner: key.owner, time: now, actor };
    const alive = key.revokeTime === null && isLive(secret, now);
    const report = { version: secret.version, source, revoked: alive };
    await record(transaction, { deps, caller }, [
      { action: "secret.leak_reported", ...about, details: report },
      ...(alive
        ? [{ action: "key.revoked", ...about, details: { reason: "compromised", note: source } } as const]
        : []),
    ]);
    if (!alive) return { key, moment, actor, view: undefined };
    const change = { revokeTime: now, revokedBy: actor, revokeReason: "compromised", revokeNote: source } as const;
    const view = await writeChange(transaction, { key, ...moment }, { change, narrows: true });
    return { key: view.key, moment, actor, view };
  });
  if (report === undefined) return;
  const { key, moment, actor, view } = report;
  if (view !== undefined) logRevocation(deps, view, actor);
  deps.log.warn(
    { event: "secret.leaked", keyId: key.id, owner: key.owner, revoked: view !== undefined, actor },
    "leaked secret reported",
  );
  await settle(deps, { ...moment, ...view, key, changed: view !== undefined });
}
