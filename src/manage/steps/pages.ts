import { ClavigerError } from "../../keys/errors.ts";
import type { PageTokens } from "../../keys/page-token.ts";

const DEFAULT_PAGE_SIZE = 50;
const MAX_PAGE_SIZE = 1000;

/** The number of rows of a page: the requested one, within bounds. 0 requests the default (AIP-158). */
export function pageSizeOf(asked: number): number {
  return Math.min(asked === 0 ? DEFAULT_PAGE_SIZE : asked, MAX_PAGE_SIZE);
}

/** The position of the next page; undefined for the first page. `PAGE_TOKEN_INVALID` for a token of another list. */
export function readPageToken(tokens: PageTokens, token: string, filters: string): string | undefined {
  if (token === "") return undefined;
  const place = tokens.read(token, filters);
  if (place !== undefined) return place;
  throw new ClavigerError(
    "PAGE_TOKEN_INVALID",
    "page_token was not made for this list. Repeat the filters of the first page, or start again without a token",
  );
}
