import { ClavigerError } from "../keys/errors.ts";
import type { KeyView } from "../keys/key.ts";
import { type KeyFilter, listKeys as queryKeys } from "../postgres/keys.ts";
import type { ManageDeps } from "./deps.ts";
import { viewKeys } from "./view.ts";

export type { KeyFilter };

const DEFAULT_PAGE_SIZE = 50;
const MAX_PAGE_SIZE = 1000;

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
  /** The token that goes on after a key of the page, for a page that is cut short. */
  readonly tokenAfter: (view: KeyView) => string;
}

/** One page of the keys that match, newest first; `PAGE_TOKEN_INVALID` for a token of another list. */
export async function listKeys(deps: ManageDeps, command: ListKeys): Promise<KeyPage> {
  const filters = canonical(command.filter);
  const after = command.pageToken === "" ? undefined : deps.pageTokens.read(command.pageToken, filters);
  if (after === undefined && command.pageToken !== "") {
    throw new ClavigerError(
      "PAGE_TOKEN_INVALID",
      "page_token was not made for this list. Repeat the filters of the first page, or start again without a token",
    );
  }
  const size = Math.min(command.pageSize === 0 ? DEFAULT_PAGE_SIZE : command.pageSize, MAX_PAGE_SIZE);
  return deps.storage.read(async (database) => {
    const keys = await queryKeys(database, command.filter, { after, limit: size + 1 });
    const views = await viewKeys(database, keys.slice(0, size));
    return { views, more: keys.length > size, tokenAfter: (view) => deps.pageTokens.make(view.key.id, filters) };
  });
}

function canonical(filter: KeyFilter): string {
  const labels = Object.entries(filter.labels ?? {}).sort(([a], [b]) => (a < b ? -1 : 1));
  return JSON.stringify([filter.owner ?? null, filter.state ?? null, labels, filter.expiresBefore ?? null]);
}
