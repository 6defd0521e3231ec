import { type Command, Option } from "commander";
import type { Shell } from "../shell.ts";
import { integerParser } from "./key-options.ts";

/** The server's largest page: fewest calls. */
const LARGEST_PAGE = 1000;

/** The options of every command that lists something page by page. */
export interface ListOptions extends WideOption {
  readonly pageSize?: number;
  readonly pageToken?: string;
  readonly all?: true;
}

export interface WideOption {
  readonly wide?: true;
}

/** `--page-size`, `--page-token`, `--all` and `--wide`. */
export function addListOptions(command: Command): Command {
  return command
    .option("--page-size <number>", "how many at once, at most 1000 (default: 50)", integerParser(1))
    .option("--page-token <token>", "the token that the page before ended with")
    .addOption(new Option("-a, --all", "all pages").conflicts("pageToken"))
    .addOption(wideOption());
}

/** `--wide` */
export function wideOption(): Option {
  return new Option("-w, --wide", "every column in full, also where the terminal is narrower");
}

/** The width that a list has to fit; undefined for one that is shown in full. */
export function widthFor(shell: Pick<Shell, "columns">, { wide }: WideOption): number | undefined {
  return wide ? undefined : shell.columns;
}

/** Reads the page that the options name, or with `--all` every page. Returns what came, and the token of the next page. */
export async function readPages<Item>(
  options: ListOptions,
  readPage: (page: {
    readonly pageSize: number;
    readonly pageToken: string;
  }) => Promise<{ readonly items: readonly Item[]; readonly nextPageToken: string }>,
): Promise<{ items: Item[]; nextPageToken: string }> {
  const pageSize = options.pageSize ?? (options.all ? LARGEST_PAGE : 0);
  const items: Item[] = [];
  let pageToken = options.pageToken ?? "";
  do {
    const page = await readPage({ pageSize, pageToken });
    items.push(...page.items);
    pageToken = page.nextPageToken;
  } while (options.all && pageToken !== "");
  return { items, nextPageToken: pageToken };
}

/** The note about pages that were not read. */
export function moreNote(nextPageToken: string): string {
  return `there are more: add --all, or --page-token ${nextPageToken}`;
}
