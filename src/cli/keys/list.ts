import { create } from "@bufbuild/protobuf";
import type { Timestamp } from "@bufbuild/protobuf/wkt";
import { type Command, Option } from "commander";
import {
  ListKeysRequestSchema,
  type ListKeysResponse,
  ListKeysResponseSchema,
} from "#gen/claviger/v1/key_management_pb.js";
import { type Key, KeyStateSchema, SecretState } from "#gen/claviger/v1/key_pb.js";
import { type Connection, withConnection } from "../connection.ts";
import { describeTime } from "../describe-time.ts";
import { enumName, enumNames, enumValue } from "../enum-names.ts";
import { addExamples } from "../examples.ts";
import { expiryWarning } from "../expiry-warning.ts";
import { instantParser, integerParser, labelOption, ownerOption } from "../key-options.ts";
import { noteLine, printLine, printMessage, warnLine } from "../print.ts";
import { addServerOptions, type ServerOptions } from "../server-options.ts";
import type { Shell } from "../shell.ts";
import { formatTable, shorten } from "../table.ts";

/** Characters of a name or an owner in the list; `keys get` shows all of them. */
const LONGEST_CELL = 32;
/** The server's largest page: fewest calls. */
const LARGEST_PAGE = 1000;

interface ListOptions extends ServerOptions {
  readonly owner?: string;
  readonly state?: string;
  readonly label?: Record<string, string>;
  readonly expiresBefore?: Timestamp;
  readonly unusedSince?: Timestamp;
  readonly pageSize?: number;
  readonly pageToken?: string;
  readonly all?: true;
}

/** `claviger keys list` */
export function addList(parent: Command, shell: Shell): void {
  const command = addServerOptions(parent.command("list"))
    .description("list keys that match all filters, newest first")
    .addOption(ownerOption("only this owner's keys"))
    .addOption(new Option("--state <state>", "only keys in this state").choices(enumNames(KeyStateSchema)))
    .addOption(labelOption("only keys with this label"))
    .addOption(
      new Option(
        "--expires-before <when>",
        "only keys that expire, or expired, before this: 14d or an RFC 3339 instant",
      ).argParser(instantParser(shell.now)),
    )
    .addOption(
      new Option(
        "--unused-since <when>",
        "only keys made before this and not valid since: 30d ago, or an RFC 3339 instant",
      ).argParser(instantParser(shell.now, -1)),
    )
    .option("--page-size <number>", "how many at once, at most 1000 (default: 50)", integerParser(1))
    .option("--page-token <token>", "the token that the page before ended with")
    .option("--all", "all pages")
    .action((options: ListOptions) =>
      withConnection(shell, options, async ({ management }) => {
        const response = await (options.all ? listAll : listPage)(management, options);
        if (options.json) printMessage(shell, ListKeysResponseSchema, response);
        else printKeys(shell, response);
      }),
    );
  addExamples(
    command,
    "claviger keys list --owner u42 --state active",
    "claviger keys list --label team=billing --expires-before 14d --all",
    "claviger keys list --unused-since 30d",
    "claviger keys list --all --json | jq -r '.keys[].id'",
  );
}

function listPage(management: Connection["management"], options: ListOptions): Promise<ListKeysResponse> {
  const request = create(ListKeysRequestSchema, {
    owner: options.owner ?? "",
    state: enumValue(KeyStateSchema, options.state),
    labelSelector: options.label ?? {},
    expiresBefore: options.expiresBefore,
    unusedSince: options.unusedSince,
    pageSize: options.pageSize ?? (options.all ? LARGEST_PAGE : 0),
    pageToken: options.pageToken ?? "",
  });
  return management.listKeys(request);
}

async function listAll(management: Connection["management"], options: ListOptions): Promise<ListKeysResponse> {
  const keys: Key[] = [];
  let page = await listPage(management, options);
  keys.push(...page.keys);
  while (page.nextPageToken !== "") {
    page = await listPage(management, { ...options, pageToken: page.nextPageToken });
    keys.push(...page.keys);
  }
  return create(ListKeysResponseSchema, { keys });
}

function printKeys(shell: Shell, { keys, nextPageToken }: ListKeysResponse): void {
  const now = shell.now();
  const rows = keys.map((key) => [
    key.id,
    shorten(key.displayName, LONGEST_CELL),
    shorten(key.owner, LONGEST_CELL),
    enumName(KeyStateSchema, key.state),
    key.secrets.find(({ state }) => state === SecretState.CURRENT)?.hint ?? "–",
    describeTime(key.expireTime, now),
  ]);
  if (rows.length === 0) noteLine(shell, "no keys match");
  else printLine(shell, formatTable([["KEY ID", "NAME", "OWNER", "STATE", "SECRET", "EXPIRES"], ...rows]));
  if (nextPageToken !== "") noteLine(shell, `there are more: add --all, or --page-token ${nextPageToken}`);
  const warning = expiryWarning(keys, now);
  if (warning !== "") warnLine(shell, warning);
}
