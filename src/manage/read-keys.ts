import type { Caller } from "../access/caller.ts";
import { confineOwner } from "../access/permissions.ts";
import type { KeyView } from "../keys/key.ts";
import { findKey, findKeyNow, type KeyFilter, listKeys as queryKeys } from "../postgres/keys.ts";
import type { ManageDeps } from "./deps.ts";
import { keyNotFound, mayKnow } from "./steps/lock.ts";
import { pageSizeOf, readPageToken } from "./steps/pages.ts";
import { viewKeys, viewSecrets } from "./steps/view.ts";

/** The owner of the key, which never changes; undefined if the key does not exist. */
export async function findOwner({ storage }: Pick<ManageDeps, "storage">, keyId: string): Promise<string | undefined> {
  return (await storage.read((database) => findKey(database, keyId)))?.owner;
}

/** Reads one key; `KEY_NOT_FOUND` if there is none. */
export function getKey(deps: ManageDeps, caller: Caller, keyId: string): Promise<KeyView> {
  return deps.storage.read(async (database) => {
    const found = await findKeyNow(database, keyId);
    if (found === undefined || !mayKnow(caller, found.key)) throw keyNotFound(keyId);
    return { ...found, secrets: await viewSecrets(database, found.key, found.now).send() };
  });
}

export type { KeyFilter };

export interface ListKeys {
  readonly filter: KeyFilter;
  /** 0 for the default. */
  readonly pageSize: number;
  /** Empty for the first page. */
  readonly pageToken: string;
}

export interface KeyPage {
  readonly views: readonly KeyView[];
  /** Whether keys remain after the last of `views`. */
  readonly more: boolean;
  /** The token that continues after a key of the page, for a page that is cut short. */
  readonly tokenAfter: (view: KeyView) => string;
}

/** One page of the matching keys, newest first. `PAGE_TOKEN_INVALID` for a token of another list. */
export async function listKeys(deps: ManageDeps, caller: Caller, command: ListKeys): Promise<KeyPage> {
  const owner = confineOwner(caller, command.filter.owner ?? "");
  const filter = { ...command.filter, ...(owner === "" ? {} : { owner }) };
  const filters = canonical(filter);
  const after = readPageToken(deps.pageTokens, command.pageToken, filters);
  const size = pageSizeOf(command.pageSize);
  return deps.storage.read(async (database) => {
    const keys = await queryKeys(database, filter, { after, limit: size + 1 });
    const views = await viewKeys(database, keys.slice(0, size));
    return { views, more: keys.length > size, tokenAfter: (view) => deps.pageTokens.make(view.key.id, filters) };
  });
}

function canonical(filter: KeyFilter): string {
  const labels = Object.entries(filter.labels ?? {}).sort(([a], [b]) => (a < b ? -1 : 1));
  return JSON.stringify([
    filter.owner ?? null,
    filter.state ?? null,
    labels,
    filter.expiresBefore ?? null,
    filter.unusedSince ?? null,
  ]);
}
