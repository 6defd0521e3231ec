import { create } from "@bufbuild/protobuf";
import { timestampDate, timestampFromMs } from "@bufbuild/protobuf/wkt";
import { type Command, Option } from "commander";
import {
  QueryUsageRequestSchema,
  type QueryUsageResponse,
  QueryUsageResponseSchema,
  UsageDimension,
  UsageStep,
} from "#gen/claviger/v1/usage_pb.js";
import { drawBars } from "./bars.ts";
import { usageError } from "./cli-error.ts";
import { withConnection } from "./connection.ts";
import { addExamples } from "./examples.ts";
import { integerParser, ownerOption } from "./key-options.ts";
import { printLine, printMessage } from "./print.ts";
import { addServerOptions, type ServerOptions } from "./server-options.ts";
import type { Shell } from "./shell.ts";
import { formatTable, shorten } from "./table.ts";

const DAY_MS = 86_400_000;
const DEFAULT_DAYS = 7;
/** Up to so many days a bar is an hour. */
const DAYS_OF_HOURS = 2;
const LONGEST_CELL = 60;

const DIMENSIONS = {
  verdict: UsageDimension.VERDICT,
  method: UsageDimension.METHOD,
  version: UsageDimension.SECRET_VERSION,
  key: UsageDimension.KEY,
} as const;

interface UsageOptions extends ServerOptions {
  readonly owner?: string;
  readonly days?: number;
  readonly by?: keyof typeof DIMENSIONS;
}

/** `claviger usage` */
export function addUsage(parent: Command, shell: Shell): void {
  const command = addServerOptions(parent.command("usage"))
    .description("show how a key was used, or an owner's keys, or all: every verification that was decided")
    .argument("[key-id]", "key_…")
    .addOption(ownerOption("all keys of this owner"))
    .option("--days <number>", `how many days, today included (default: ${DEFAULT_DAYS})`, integerParser(1))
    .addOption(
      new Option("--by <what>", "a bar for each verdict, method, secret version or key, instead of each day").choices(
        Object.keys(DIMENSIONS),
      ),
    )
    .action((keyId: string | undefined, options: UsageOptions) => {
      if (keyId !== undefined && options.owner !== undefined) throw usageError("give a key or --owner, not both");
      return withConnection(shell, options, async ({ management }) => {
        const response = await management.queryUsage(requestOf(shell, keyId, options));
        if (options.json) printMessage(shell, QueryUsageResponseSchema, response);
        else printUsage(shell, response, options);
      });
    });
  addExamples(
    command,
    "claviger usage key_01hzy3v7mkf5c9q2w8xanb4tde",
    "claviger usage key_01hzy3v7mkf5c9q2w8xanb4tde --days 1 --by version   # may the grace period end?",
    "claviger usage --owner u42 --days 30 --by method",
  );
}

function requestOf(shell: Shell, keyId: string | undefined, { owner, days = DEFAULT_DAYS, by }: UsageOptions) {
  const nowMs = shell.now().getTime();
  const midnightMs = nowMs - (nowMs % DAY_MS);
  return create(QueryUsageRequestSchema, {
    keyId: keyId ?? "",
    owner: owner ?? "",
    startTime: timestampFromMs(midnightMs - (days - 1) * DAY_MS),
    endTime: timestampFromMs(nowMs + 1),
    step: by === undefined && days <= DAYS_OF_HOURS ? UsageStep.HOUR : UsageStep.DAY,
    groupBy: by === undefined ? [] : [DIMENSIONS[by]],
  });
}

function printUsage(shell: Shell, { points, total }: QueryUsageResponse, { by }: UsageOptions): void {
  const counts = new Map<string, number>();
  for (const { startTime, group, count } of points) {
    const name = by === undefined ? timeOf(startTime) : nameOf(Object.values(group)[0] ?? "");
    counts.set(name, (counts.get(name) ?? 0) + Number(count));
  }
  const rows = [...counts];
  if (by !== undefined) rows.sort(([, a], [, b]) => b - a);
  const bars = drawBars(rows.map(([, count]) => count));
  const table = rows.map(([name, count], at) => [shorten(name, LONGEST_CELL), String(count), bars[at] ?? ""]);
  if (table.length > 0) printLine(shell, formatTable(table));
  printLine(shell, `${total} in all`);
}

function timeOf(startTime: QueryUsageResponse["points"][number]["startTime"]): string {
  const text = startTime === undefined ? "" : timestampDate(startTime).toISOString();
  return text.endsWith("T00:00:00.000Z") ? text.slice(0, 10) : text.slice(0, 16).replace("T", " ");
}

/** A verdict as people write it; nothing as what it means. */
function nameOf(value: string): string {
  if (value === "") return "(none)";
  return value.startsWith("VERDICT_") ? value.slice("VERDICT_".length).toLowerCase().replaceAll("_", "-") : value;
}
