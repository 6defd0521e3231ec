import { create } from "@bufbuild/protobuf";
import type { Timestamp } from "@bufbuild/protobuf/wkt";
import { type Command, Option } from "commander";
import {
  AuditOutcomeSchema,
  ListAuditEventsRequestSchema,
  type ListAuditEventsResponse,
  ListAuditEventsResponseSchema,
} from "#gen/claviger/v1/audit_pb.js";
import { withConnection } from "../connection.ts";
import { describeTime } from "../describe-time.ts";
import { enumName } from "../enum-names.ts";
import { addExamples } from "../examples.ts";
import { instantParser, integerParser, ownerOption } from "../key-options.ts";
import { noteLine, printLine, printMessage } from "../print.ts";
import { addServerOptions, type ServerOptions } from "../server-options.ts";
import type { Shell } from "../shell.ts";
import { formatTable, shorten } from "../table.ts";

/** Characters of a name in the list; `--json` shows all of them. */
const LONGEST_CELL = 32;

interface AuditListOptions extends ServerOptions {
  readonly key?: string;
  readonly owner?: string;
  readonly actor?: string;
  readonly since?: Timestamp;
  readonly until?: Timestamp;
  readonly pageSize?: number;
  readonly pageToken?: string;
}

/** `claviger audit list` */
export function addAuditList(parent: Command, shell: Shell): void {
  const command = addServerOptions(parent.command("list"))
    .description("list what was done to keys, and refused, newest first")
    .option("--key <key-id>", "only events of this key")
    .addOption(ownerOption("only events of this owner's keys"))
    .option("--actor <who>", "only events of this actor: a subject or a key id")
    .addOption(
      new Option("--since <instant>", "only events from this RFC 3339 instant on").argParser(instantParser(shell.now)),
    )
    .addOption(
      new Option("--until <instant>", "only events before this RFC 3339 instant").argParser(instantParser(shell.now)),
    )
    .option("--page-size <number>", "how many at once, at most 1000 (default: 50)", integerParser(1))
    .option("--page-token <token>", "the token that the page before ended with")
    .action((options: AuditListOptions) =>
      withConnection(shell, options, async ({ management }) => {
        const response = await management.listAuditEvents(requestOf(options));
        if (options.json) printMessage(shell, ListAuditEventsResponseSchema, response);
        else printEvents(shell, response);
      }),
    );
  addExamples(
    command,
    "claviger audit list --owner u42",
    "claviger audit list --key key_… --json | jq '.events[].action'",
  );
}

function requestOf(options: AuditListOptions) {
  return create(ListAuditEventsRequestSchema, {
    keyId: options.key ?? "",
    owner: options.owner ?? "",
    actor: options.actor ?? "",
    startTime: options.since,
    endTime: options.until,
    pageSize: options.pageSize ?? 0,
    pageToken: options.pageToken ?? "",
  });
}

function printEvents(shell: Shell, { events, nextPageToken }: ListAuditEventsResponse): void {
  const now = shell.now();
  const rows = events.map(({ sequence, time, action, outcome, actor, keyId, owner }) => [
    String(sequence),
    describeTime(time, now),
    action,
    enumName(AuditOutcomeSchema, outcome),
    shorten(actor?.keyId || actor?.subject || "–", LONGEST_CELL),
    keyId || "–",
    shorten(owner || "–", LONGEST_CELL),
  ]);
  if (rows.length === 0) noteLine(shell, "no events match");
  else printLine(shell, formatTable([["SEQ", "TIME", "ACTION", "OUTCOME", "ACTOR", "KEY ID", "OWNER"], ...rows]));
  if (nextPageToken !== "") noteLine(shell, `there are more: add --page-token ${nextPageToken}`);
}
