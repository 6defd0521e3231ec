import { create, type JsonObject, type JsonValue } from "@bufbuild/protobuf";
import type { Timestamp } from "@bufbuild/protobuf/wkt";
import { type Command, Option } from "commander";
import {
  type AuditEvent,
  AuditOutcome,
  AuditOutcomeSchema,
  ListAuditEventsRequestSchema,
  type ListAuditEventsResponse,
  ListAuditEventsResponseSchema,
} from "#gen/claviger/v1/audit_pb.js";
import { type Connection, withConnection } from "../../connection.ts";
import { enumName } from "../../input/enum-names.ts";
import { instantParser, keyIdOption, ownerOption } from "../../input/key-options.ts";
import { addListOptions, type ListOptions, moreNote, readPages, widthFor } from "../../input/list-options.ts";
import { addExamples, addServerOptions, type ServerOptions } from "../../input/server-options.ts";
import { createTimes, type Times } from "../../output/describe-time.ts";
import { noteLine, printLine, printMessage } from "../../output/print.ts";
import { type Column, formatList } from "../../output/table.ts";
import type { Shell } from "../../shell.ts";

interface AuditListOptions extends ServerOptions, ListOptions {
  readonly key?: string;
  readonly owner?: string;
  readonly actor?: string;
  readonly since?: Timestamp;
  readonly until?: Timestamp;
}

/** `claviger audit list` */
export function addAuditList(command: Command, shell: Shell): void {
  const instant = (flags: string, description: string) =>
    new Option(flags, `${description}: 7d ago, or an instant such as 2027-02-20T00:00:00Z`).argParser(
      instantParser(shell.now, -1),
    );
  addListOptions(addServerOptions(command))
    .addOption(keyIdOption("only events of this key"))
    .addOption(ownerOption("only events of this owner's keys"))
    .option("--actor <name>", "only events of this actor: a subject or a key id")
    .addOption(instant("--since <when>", "only events from this on"))
    .addOption(instant("--until <when>", "only events before this"))
    .action((options: AuditListOptions) =>
      withConnection(shell, options, async ({ management }) => {
        const response = await list(management, options);
        if (options.json) printMessage(shell, ListAuditEventsResponseSchema, response);
        else printEvents(shell, response, options);
      }),
    );
  addExamples(
    command,
    "claviger audit list --owner u42 --since 7d",
    "claviger audit list --all --wide > events.txt",
    "claviger audit list --key key_01hzy3v7mkf5c9q2w8xanb4tde --json | jq .events",
  );
}

async function list(management: Connection["management"], options: AuditListOptions): Promise<ListAuditEventsResponse> {
  const { items: events, nextPageToken } = await readPages<AuditEvent>(options, async (page) => {
    const request = create(ListAuditEventsRequestSchema, {
      keyId: options.key ?? "",
      owner: options.owner ?? "",
      actor: options.actor ?? "",
      startTime: options.since,
      endTime: options.until,
      ...page,
    });
    const response = await management.listAuditEvents(request);
    return { items: response.events, nextPageToken: response.nextPageToken };
  });
  return create(ListAuditEventsResponseSchema, { events, nextPageToken });
}

function printEvents(
  shell: Shell,
  { events, nextPageToken }: ListAuditEventsResponse,
  options: AuditListOptions,
): void {
  if (events.length === 0) noteLine(shell, "no events match");
  else printLine(shell, formatList(events, columns(createTimes(shell)), widthFor(shell, options)));
  if (nextPageToken !== "") noteLine(shell, moreNote(nextPageToken));
}

function columns(times: Times): Column<AuditEvent>[] {
  return [
    { title: "SEQ", cell: ({ sequence }) => String(sequence) },
    { title: "TIME", cell: ({ time }) => times.describe(time), short: ({ time }) => times.abbreviate(time) },
    { title: "ACTION", cell: ({ action }) => action },
    { title: "OUTCOME", cell: ({ outcome }) => enumName(AuditOutcomeSchema, outcome), dispensable: 3 },
    { title: "ACTOR", cell: ({ actor }) => actor?.keyId || actor?.subject || "–", least: 8 },
    { title: "KEY ID", cell: ({ keyId }) => keyId || "–", dispensable: 1 },
    { title: "OWNER", cell: ({ owner }) => owner || "–", least: 8, dispensable: 2 },
    { title: "DETAILS", cell: detailsOf, least: 24 },
  ];
}

/** The details of an event beside its columns; for a refusal, the reason. */
function detailsOf({ outcome, details = {} }: AuditEvent): string {
  const { reason, method, methods, ...others } = details;
  if (outcome !== AuditOutcome.DENIED) return factsOf(details);
  return `${textOf(method ?? methods ?? "call")}: ${textOf(reason ?? "refused")} ${factsOf(others)}`.trim();
}

function factsOf(details: JsonObject): string {
  return Object.entries(details)
    .map(([name, value]) => [name.replaceAll("_", "-"), textOf(value)] as const)
    .filter(([, text]) => text !== "")
    .map(([name, text]) => `${name}=${text}`)
    .join(" ");
}

function textOf(value: JsonValue): string {
  if (Array.isArray(value)) return value.map(textOf).join(",");
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}
