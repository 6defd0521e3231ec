import { sql } from "drizzle-orm";
import type { Database } from "../storage.ts";

/** The role that serving runs as: it can work with keys, and cannot change what the audit log holds, nor any schema. */
export const SERVICE_ROLE = "claviger_app";

/** The rights on each table that serving needs, and no more. Locking a row needs the right to update it. */
const RIGHTS: Readonly<Record<string, string>> = {
  key_owner: "select, insert, update",
  api_key: "select, insert, update, delete",
  secret_version: "select, insert, update",
  revision: "select, update",
  invalidation: "select, insert, delete",
  verifier: "select, insert, update, delete",
  audit_event: "select, insert",
  audit_pending: "select, insert, delete",
  audit_seal: "select, insert",
  audit_root: "select, insert, update",
  done_request: "select, insert, delete",
  usage_source: "select, insert, update, delete",
  usage_batch: "select, insert, update, delete",
  usage_rejected: "select, insert",
  usage_minute: "select, insert, update",
  usage_hour: "select, insert, update",
  key_last_used: "select, insert, update, delete",
};

/**
 * The name in `pg_has_role` for the right to become a role. From Postgres 16 on membership is not enough: the creator
 * of a role is a member of it and still may not become it (https://www.postgresql.org/docs/16/release-16.html).
 */
const MAY_BECOME = `case when current_setting('server_version_num')::int >= 160000 then 'set' else 'member' end`;

/** The names of the tables. */
export const CLAVIGER_TABLES: readonly string[] = Object.keys(RIGHTS);

/**
 * Gives the role its rights, as the owner of the schema; after every migration, so that no table is forgotten. Makes
 * the role if the owner may; otherwise serving runs as the connecting role. Safe to repeat.
 */
export async function grantServiceRole(database: Database): Promise<void> {
  await database.execute(
    sql.raw(`do $$ begin
    if not exists (select from pg_roles where rolname = '${SERVICE_ROLE}') then
      create role ${SERVICE_ROLE} nologin;
    end if;
    if not pg_catalog.pg_has_role(current_user, '${SERVICE_ROLE}', ${MAY_BECOME}) then
      grant ${SERVICE_ROLE} to current_user;
    end if;
  exception
    -- Another database of the same server is being migrated at this moment, or the owner may not make roles.
    when duplicate_object or unique_violation or insufficient_privilege then null;
  end $$`),
  );
  if (!(await roleExists(database))) return;
  const grants = Object.entries(RIGHTS).map(([table, rights]) => `grant ${rights} on ${table} to ${SERVICE_ROLE};`);
  await database.execute(
    sql.raw(`do $$ begin
    grant usage on schema public, drizzle to ${SERVICE_ROLE};
    grant select on drizzle.__drizzle_migrations to ${SERVICE_ROLE};
    ${grants.join("\n    ")}
    grant execute on function claviger_make_usage_partitions, claviger_drop_usage_partitions to ${SERVICE_ROLE};
  end $$`),
  );
}

/** True if the connected role can become the service role. */
export async function canServeAsRole(database: Database): Promise<boolean> {
  const rows = await database
    .select({ able: sql<boolean>`pg_catalog.pg_has_role(current_user, r.rolname, ${sql.raw(MAY_BECOME)})` })
    .from(sql`pg_roles r`)
    .where(sql`r.rolname = ${SERVICE_ROLE}`);
  return rows[0]?.able === true;
}

async function roleExists(database: Database): Promise<boolean> {
  const rows = await database
    .select({ name: sql<string>`r.rolname` })
    .from(sql`pg_roles r`)
    .where(sql`r.rolname = ${SERVICE_ROLE}`);
  return rows.length === 1;
}
