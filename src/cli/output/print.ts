import { styleText } from "node:util";
import type { DescMessage, JsonValue, MessageShape } from "@bufbuild/protobuf";
import type { CliError } from "../cli-error.ts";
import type { Shell } from "../shell.ts";
import { messageToJson } from "./message-json.ts";
import { printable, printableJson } from "./printable.ts";

/** Writes one or more lines of the command's result. */
export function printLine(shell: Shell, text: string): void {
  shell.stdout.write(`${text}\n`);
}

/** Writes a line beside the result, so that a program that reads the output does not meet it. */
export function noteLine(shell: Shell, text: string): void {
  shell.stderr.write(`${text}\n`);
}

/** Writes a warning for people. */
export function warnLine(shell: Shell, text: string): void {
  noteLine(shell, `${styleText("yellow", "warning:", { stream: shell.stderr })} ${printable(text)}`);
}

/** Writes a value for programs. */
export function printJson(shell: Shell, value: JsonValue): void {
  printLine(shell, printableJson(JSON.stringify(value, null, 2)));
}

/** Writes a failure for people. */
export function printFailure(shell: Shell, failure: CliError): void {
  noteLine(shell, `${styleText("red", "error:", { stream: shell.stderr })} ${printable(failure.message)}`);
  if (failure.reason !== "") noteLine(shell, `  reason: ${printable(failure.reason)}`);
  for (const detail of failure.details) noteLine(shell, `  ${printable(detail)}`);
}

/** Writes a failure for programs: `code`, `reason`, `message`, `metadata` and `violations`. */
export function printFailureJson(shell: Shell, failure: CliError): void {
  const { code, reason, message, metadata } = failure;
  const violations = failure.violations.map(({ field, description }) => ({ field, description }));
  noteLine(shell, printableJson(JSON.stringify({ code, reason, message, metadata, violations }, null, 2)));
}

/** Writes a message for programs; see `messageToJson`. Not in `print.ts`: commands without a server start without Protobuf. */
export function printMessage<Desc extends DescMessage>(shell: Shell, schema: Desc, message: MessageShape<Desc>): void {
  printJson(shell, messageToJson(schema, message));
}
