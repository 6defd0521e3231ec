import { findKey } from "../postgres/keys.ts";
import type { ManageDeps } from "./deps.ts";

/** The owner of the key, which never changes; undefined if the key does not exist. */
export async function findOwner({ storage }: Pick<ManageDeps, "storage">, keyId: string): Promise<string | undefined> {
  return (await storage.read((database) => findKey(database, keyId)))?.owner;
}
