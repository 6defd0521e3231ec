import { type AnonymousCaller, actorOf } from "../access/caller.ts";
import type { Actor, KeyRecord } from "../keys/key.ts";
import { isLive } from "../keys/lifecycle.ts";
import { redactSecrets } from "../keys/secret.ts";
import { lockKey } from "../postgres/keys.ts";
import { findByDigests, findSecret, noteLeakReport } from "../postgres/secrets.ts";
import { Ending } from "../postgres/statements.ts";
import { type DatabaseMoment, readDatabaseMoment } from "../postgres/time.ts";
import type { ManageDeps } from "./deps.ts";
import { logRevocation } from "./revoke-key.ts";
import { record } from "./steps/record.ts";
import { settle } from "./steps/settle.ts";
import { type Changed, writeChange } from "./steps/write-change.ts";

export interface ReportLeakedSecret {
  readonly secret: string;
  /** The place where the secret was found. */
  readonly source: string;
}

/** The outcome of a report, with the key after it if the report revoked it. */
interface Report {
  readonly key: KeyRecord;
  readonly moment: DatabaseMoment;
  readonly actor: Actor;
  readonly isNews: boolean;
  readonly view?: Changed;
}

/**
 * Revokes the key of a live secret. The holder of a secret may end it; a dead or foreign secret changes nothing.
 * Returns nothing: the answer is the same for any text. Its duration differs, which shows a holder whether the secret
 * is alive.
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
    // A reporter may paste the secret into the source as well.
    const source = redactSecrets(command.source);
    const about = { keyId: key.id, owner: key.owner, time: now, actor };
    const alive = key.revokeTime === null && isLive(secret, now);
    const details = { version: secret.version, source, revoked: alive };
    // Once per secret: otherwise each finder of a dead one could fill the log.
    const isNews = await noteLeakReport(transaction, secret, now);
    const recorded = record(transaction, { deps, caller }, [
      ...(isNews ? [{ action: "secret.leak_reported", ...about, details } as const] : []),
      ...(alive
        ? [{ action: "key.revoked", ...about, details: { reason: "compromised", note: source } } as const]
        : []),
    ]);
    const report = { key, moment, actor, isNews };
    if (!alive) return Ending.of(recorded, [], (): Report => report);
    const change = { revokeTime: now, revokedBy: actor, revokeReason: "compromised", revokeNote: source } as const;
    return writeChange(transaction, { key, ...moment }, { change, narrows: true, before: recorded }).map(
      (view): Report => ({ ...report, view }),
    );
  });
  if (report === undefined) return;
  const { key, moment, actor, isNews, view } = report;
  if (view !== undefined) logRevocation(deps, view, actor);
  if (isNews) {
    const found = { event: "secret.leaked", keyId: key.id, owner: key.owner, revoked: view !== undefined, actor };
    deps.log.warn(found, "leaked secret reported");
  }
  await settle(deps, { ...moment, key, ...view, changed: view !== undefined });
}
