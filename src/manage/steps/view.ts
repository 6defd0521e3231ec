import type { KeyRecord, KeyView, SecretRecord } from "../../keys/key.ts";
import { isLive } from "../../keys/lifecycle.ts";
import { listSecrets } from "../../postgres/secrets.ts";
import type { Statement } from "../../postgres/statements.ts";
import type { Database } from "../../postgres/storage.ts";
import { readDatabaseTime } from "../../postgres/time.ts";

/** Maximum of dead secrets shown with a key, besides all live ones. */
const DEAD_SHOWN = 10;

/** Newest secrets that are read of a key: enough to contain `DEAD_SHOWN` dead ones. */
const NEWEST_READ = 20;

/** Keys with their visible secrets, in the given order. */
export async function viewKeys(database: Database, keys: readonly KeyRecord[]): Promise<KeyView[]> {
  const now = await readDatabaseTime(database);
  const secrets = await listSecrets(database, keys, NEWEST_READ).send();
  return keys.map((key) => ({ key, secrets: shown(secrets.get(key.id) ?? [], now), now }));
}

/** The visible secrets of one key. */
export function viewSecrets(database: Database, key: KeyRecord, now: Date): Statement<SecretRecord[]> {
  const list = listSecrets(database, [key], NEWEST_READ);
  return { send: async () => shown((await list.send()).get(key.id) ?? [], now) };
}

function shown(secrets: readonly SecretRecord[], now: Date): SecretRecord[] {
  const dead = secrets.filter((secret) => !isLive(secret, now)).slice(0, DEAD_SHOWN);
  return secrets.filter((secret) => isLive(secret, now) || dead.includes(secret));
}
