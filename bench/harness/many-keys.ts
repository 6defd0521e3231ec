import { sql } from "drizzle-orm";
import { newKeyId } from "../../src/keys/key-id.ts";
import { Keyring } from "../../src/keys/keyring.ts";
import type { OpenStorage } from "../../src/server/open/open-storage.ts";
import { systemRandom } from "../../src/system/node.ts";

const BATCH = 10_000;

/** Puts `count` keys with secrets that are known into storage, past the maximum of keys; returns the secrets. */
export async function makeKeys({ storage, roots }: OpenStorage, count: number): Promise<string[]> {
  const keyring = new Keyring({ roots, brand: "clv" });
  const now = new Date();
  const secrets: string[] = [];
  await storage.read((db) =>
    db.execute(sql`insert into key_owner (id, create_time) values ('bench', now()) on conflict do nothing`),
  );
  for (let from = 0; from < count; from += BATCH) {
    const made = Array.from({ length: Math.min(BATCH, count - from) }, () => {
      const { secret, digest, rootId } = keyring.mint("live", systemRandom, []);
      secrets.push(secret.reveal());
      return { id: newKeyId(now, systemRandom), digest: digest.toString("hex"), rootId };
    });
    const ids = sql.param(made.map(({ id }) => id));
    const digests = sql.param(made.map(({ digest }) => digest));
    const rootIds = sql.param(made.map(({ rootId }) => rootId));
    await storage.transaction(async (transaction) => {
      await transaction.execute(sql`
        insert into api_key (id, owner, display_name, environment, scopes, labels, allowed_cidrs, disabled,
          current_version, ttl_ms, create_time, update_time, created_by, revoke_note, revision)
        select id, 'bench', 'k', 'live', '{orders:*}', '{"team": "blue"}', '{}', false, 1, 60000, now(), now(),
          '{"kind":"system","subject":"","keyId":"","address":""}', '', 0 from unnest(${ids}::text[]) as id`);
      await transaction.execute(sql`
        insert into secret_version (key_id, version, digest, root, hint, create_time, expire_time)
        select id, 1, decode(digest, 'hex'), root, '', now() - interval '1 minute', now() + interval '30 days'
        from unnest(${ids}::text[], ${digests}::text[], ${rootIds}::text[]) as t(id, digest, root)`);
    });
  }
  return secrets;
}
