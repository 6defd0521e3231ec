import { create } from "@bufbuild/protobuf";
import type { Timestamp } from "@bufbuild/protobuf/wkt";
import { type Command, Option } from "commander";
import {
  GetKeyResponseSchema,
  ListKeysRequestSchema,
  type ListKeysResponse,
  ListKeysResponseSchema,
} from "#gen/claviger/v1/key_management_pb.js";
import { type Key, KeyState, KeyStateSchema, SecretState } from "#gen/claviger/v1/key_pb.js";
import { type Connection, withConnection } from "../../connection.ts";
import { enumName, enumNames, enumValue } from "../../input/enum-names.ts";
import { instantParser, keyIdArgument, labelOption, ownerOption } from "../../input/key-options.ts";
import { addListOptions, type ListOptions, moreNote, readPages, widthFor } from "../../input/list-options.ts";
import { addExamples, addServerOptions, type ServerOptions } from "../../input/server-options.ts";
import { createTimes, expiryWarning, type Times } from "../../output/describe-time.ts";
import { noteLine, printLine, printMessage, warnLine } from "../../output/print.ts";
import { printKey } from "../../output/print-key.ts";
import { type Column, formatList } from "../../output/table.ts";
import type { Shell } from "../../shell.ts";

/** `claviger keys get` */
export function addGet(command: Command, shell: Shell): void {
  addServerOptions(command)
    .addArgument(keyIdArgument())
    .action((keyId: string, options: ServerOptions) =>
      withConnection(shell, options, async ({ management }) => {
        const response = await management.getKey({ keyId });
        printKey(shell, { schema: GetKeyResponseSchema, response, json: options.json === true });
      }),
    );
  addExamples(command, "claviger keys get key_01hzy3v7mkf5c9q2w8xanb4tde");
}

interface ListKeysOptions extends ServerOptions, ListOptions {
  readonly owner?: string;
  readonly state?: string;
  readonly label?: Record<string, string>;
  readonly expiresBefore?: Timestamp;
  readonly unusedSince?: Timestamp;
  readonly quiet?: true;
}

/** `claviger keys list` */
export function addList(command: Command, shell: Shell): void {
  addListOptions(addServerOptions(command))
    .addOption(ownerOption("only this owner's keys"))
    .addOption(new Option("--state <state>", "only keys in this state").choices(enumNames(KeyStateSchema)))
    .addOption(labelOption("only keys with this label"))
    .addOption(
      new Option(
        "--expires-before <when>",
        "only keys that expire, or expired, before this: 14d, or an instant such as 2027-02-20T00:00:00Z",
      ).argParser(instantParser(shell.now)),
    )
    .addOption(
      new Option(
        "--unused-since <when>",
        "only keys made before this and not valid since: 30d ago, or an instant such as 2027-02-20T00:00:00Z",
      ).argParser(instantParser(shell.now, -1)),
    )
    .addOption(new Option("-q, --quiet", "print only the key ids, a line each").conflicts("json"))
    .action((options: ListKeysOptions) =>
      withConnection(shell, options, async ({ management }) => {
        const response = await list(management, options);
        if (options.json) printMessage(shell, ListKeysResponseSchema, response);
        else printKeys(shell, response, options);
      }),
    );
  addExamples(
    command,
    "claviger keys list --owner u42 --state active",
    "claviger keys list --label team=billing --expires-before 14d --all",
    "claviger keys list --unused-since 30d",
    "claviger keys list --owner u42 --all -q | xargs -n 1 claviger keys disable",
    "claviger keys list --all --json | jq -r '.keys[].id'",
  );
}

async function list(management: Connection["management"], options: ListKeysOptions): Promise<ListKeysResponse> {
  const { items: keys, nextPageToken } = await readPages<Key>(options, async (page) => {
    const request = create(ListKeysRequestSchema, {
      owner: options.owner ?? "",
      state: enumValue(KeyStateSchema, options.state),
      labelSelector: options.label ?? {},
      expiresBefore: options.expiresBefore,
      unusedSince: options.unusedSince,
      ...page,
    });
    const response = await management.listKeys(request);
    return { items: response.keys, nextPageToken: response.nextPageToken };
  });
  return create(ListKeysResponseSchema, { keys, nextPageToken });
}

function printKeys(shell: Shell, { keys, nextPageToken }: ListKeysResponse, options: ListKeysOptions): void {
  if (keys.length === 0) noteLine(shell, "no keys match");
  else if (options.quiet) printLine(shell, keys.map(({ id }) => id).join("\n"));
  else printLine(shell, formatList(keys, columns(createTimes(shell)), widthFor(shell, options)));
  if (nextPageToken !== "") noteLine(shell, moreNote(nextPageToken));
  const warning = expiryWarning(keys, shell);
  if (warning !== "") warnLine(shell, warning);
}

function columns(times: Times): Column<Key>[] {
  // A revoked key has ended already.
  const end = ({ state, expireTime }: Key) => (state === KeyState.REVOKED ? undefined : expireTime);
  return [
    { title: "KEY ID", cell: ({ id }) => id },
    { title: "NAME", cell: ({ displayName }) => displayName, least: 8 },
    { title: "OWNER", cell: ({ owner }) => owner, least: 8 },
    { title: "STATE", cell: ({ state }) => enumName(KeyStateSchema, state) },
    {
      title: "SECRET",
      cell: ({ secrets }) => secrets.find(({ state }) => state === SecretState.CURRENT)?.hint ?? "–",
      dispensable: 1,
    },
    { title: "EXPIRES", cell: (key) => times.describe(end(key)), short: (key) => times.abbreviate(end(key)) },
  ];
}
