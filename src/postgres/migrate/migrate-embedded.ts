import { sql } from "drizzle-orm";
import { revision, verifier } from "../schema.ts";
import type { Database } from "../storage.ts";
import { applyMigrations, isCurrent } from "./migrations.ts";
import { grantServiceRole, SERVICE_ROLE } from "./service-role.ts";

/** The cluster id of a template, which belongs to no cluster. */
const TEMPLATE_CLUSTER_ID = "template";

/** Brings the schema of the embedded Postgres up to date, whose folder one process holds. */
export async function migrateEmbedded(database: Database): Promise<void> {
  if (await isCurrent(database)) return;
  await database.transaction(applyMigrations);
  await grantServiceRole(database);
}

/** Makes a new database a template, which first starts copy. */
export async function disown(database: Database): Promise<void> {
  await database.update(revision).set({ clusterId: TEMPLATE_CLUSTER_ID });
}

/** Prepares a migrated database for its only process: a cluster id of its own, the role for serving, and no leases. */
export async function prepareEmbedded(database: Database): Promise<void> {
  // Names in Redis carry the cluster id, so that a copy of a template needs a new one.
  await database
    .update(revision)
    .set({ clusterId: sql`gen_random_uuid()::text` })
    .where(sql`${revision.clusterId} = ${TEMPLATE_CLUSTER_ID}`);
  await database.execute(sql.raw(`set role ${SERVICE_ROLE}`));
  // The folder's lock shows that this process is alone: the rows of a killed one would delay revocations.
  await database.delete(verifier);
}
