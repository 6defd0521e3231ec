import { createHash } from "node:crypto";
import { sql } from "drizzle-orm";
import type { Storage } from "../../src/postgres/storage.ts";

export interface FillOptions {
  /** Begins the owners' names, and marks the ids. */
  readonly name: string;
  readonly count: number;
  /** The keys are dealt to that many owners, `<name>-0` and on; default 1. */
  readonly owners?: number;
  /** Bytes of metadata per key, about; default none. */
  readonly metadataBytes?: number;
}

/** The id of the key with that number, from 1, of those that were filled in under a name. */
export function filledKeyId(name: string, number: number): string {
  const mark = createHash("md5").update(name).digest("hex").slice(0, 9);
  return `key_0${mark}${number.toString(16).padStart(16, "0")}`;
}

/**
 * Puts keys into storage by one statement, past the maximum of keys: key number i expires i minutes from now, has
 * the label `number` and `of`, and each seventh is revoked. Nobody knows a secret of theirs.
 */
export async function fillKeys(storage: Storage, options: FillOptions): Promise<void> {
  const { name, count, owners = 1, metadataBytes = 0 } = options;
  const metadata =
    metadataBytes === 0 ? sql`null` : sql`jsonb_build_object('filler', repeat('x', ${metadataBytes}::int))`;
  const number = sql`generate_series(1, ${count}::int) i`;
  const actor = sql`'{"kind":"system","subject":"","keyId":"","address":""}'::jsonb`;
  await storage.read(async (database) => {
    await database.execute(sql`
      insert into key_owner (id, create_time)
      select ${name}::text || '-' || i, now() from generate_series(0, ${owners}::int - 1) i on conflict do nothing`);
    await database.execute(sql`
      with made as (
        insert into api_key
        select 'key_0' || substr(md5(${name}::text), 1, 9) || lpad(to_hex(i), 16, '0'),
          ${name}::text || '-' || (i % ${owners}::int), 'k', 'live', '{}', jsonb_build_object('number', i::text, 'of', ${name}::text),
          ${metadata}, '{}', false, 1, 60000, now(), now(), ${actor},
          case when i % 7 = 0 then now() - i * interval '1 minute' end, case when i % 7 = 0 then ${actor} end,
          null, '', 0
        from ${number}
        returning id, (labels->>'number')::int as i)
      insert into secret_version
      select id, 1, sha256(convert_to(id, 'UTF8')), 'no-root', '', now() - interval '1 minute',
        now() + i * interval '1 minute', null
      from made`);
  });
}
