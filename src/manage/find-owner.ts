import { findKey } from "../postgres/keys.ts";
import type { ManageDeps } from "./deps.ts";

/** Whose key it is; undefined if there is no such key. It never changes. */
export async function findOwner({ storage }: Pick<ManageDeps, "storage">, keyId: string): Promise<string | undefined> {
  return (await storage.read((database) => findKey(database, keyId)))?.owner;
}
