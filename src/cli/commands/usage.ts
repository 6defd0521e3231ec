import { create } from "@bufbuild/protobuf";
import { type Timestamp, timestampDate, timestampFromMs } from "@bufbuild/protobuf/wkt";
import { type Command, Option } from "commander";
import {
  QueryUsageRequestSchema,
  type QueryUsageResponse,
  QueryUsageResponseSchema,
  UsageDimension,
  UsageStep,
} from "#gen/claviger/v1/usage_pb.js";
import { DAY_MS } from "../../system/clocks.ts";
import { usageError } from "../cli-error.ts";
import { withConnection } from "../connection.ts";
import { integerParser, keyIdArgument, ownerOption } from "../input/key-options.ts";
import { type WideOption, wideOption, widthFor } from "../input/list-options.ts";
import { addExamples, addServerOptions, type ServerOptions } from "../input/server-options.ts";
import { createTimes } from "../output/describe-time.ts";
import { printLine, printMessage } from "../output/print.ts";
import { formatBars } from "../output/table.ts";
import type { Shell } from "../shell.ts";

const DEFAULT_DAYS = 7;
/** Up to so many days a bar is an hour. */
const DAYS_OF_HOURS = 2;

const DIMENSIONS = {
  verdict: UsageDimension.VERDICT,
  method: UsageDimension.METHOD,
  version: UsageDimension.SECRET_VERSION,
  key: UsageDimension.KEY,
} as const;

interface UsageOptions extends ServerOptions, WideOption {
  readonly owner?: string;
  readonly days?: number;
  readonly by?: keyof typeof DIMENSIONS;
}

/** `claviger usage` */
export function addUsage(command: Command, shell: Shell): void {
  addServerOptions(command)
    .addArgument(keyIdArgument({ isOptional: true }))
    .addOption(ownerOption("all keys of this owner"))
    .option(
      "--days <number>",
      `how many days of UTC, today included; up to ${DAYS_OF_HOURS} are shown by the hour (default: ${DEFAULT_DAYS})`,
      integerParser(1),
    )
    .addOption(
      new Option("--by <what>", "a bar for each verdict, method, secret version or key, instead of each day").choices(
        Object.keys(DIMENSIONS),
      ),
    )
    .addOption(wideOption())
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
    "claviger usage key_01hzy3v7mkf5c9q2w8xanb4tde --days 1 --by version",
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

function printUsage(shell: Shell, { points, total }: QueryUsageResponse, options: UsageOptions): void {
  const counts = new Map<string, number>();
  const timeOf = options.by === undefined ? stepTimes(shell, options) : undefined;
  for (const { startTime, group, count } of points) {
    const name = timeOf?.(startTime) ?? nameOf(Object.values(group)[0] ?? "");
    counts.set(name, (counts.get(name) ?? 0) + Number(count));
  }
  const rows = [...counts];
  if (options.by !== undefined) rows.sort(([, a], [, b]) => b - a);
  if (rows.length > 0) printLine(shell, formatBars(rows, widthFor(shell, options)));
  printLine(shell, `${total} in all`);
}

/** Formats the start of a row: days in UTC, as usage is counted, and hours in the time zone of the shell. */
function stepTimes(shell: Shell, { days = DEFAULT_DAYS }: UsageOptions): (startTime: Timestamp | undefined) => string {
  if (days <= DAYS_OF_HOURS) return createTimes(shell).clock;
  return (startTime) => (startTime === undefined ? "" : `${timestampDate(startTime).toISOString().slice(0, 10)} UTC`);
}

/** A verdict as people write it; an empty value becomes the name of its meaning. */
function nameOf(value: string): string {
  if (value === "") return "(none)";
  return value.startsWith("VERDICT_") ? value.slice("VERDICT_".length).toLowerCase().replaceAll("_", "-") : value;
}
