import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import type { Shell } from "../shell.ts";
import { messageToJson } from "./message-json.ts";
import { printJson } from "./print.ts";

/** Writes a message for programs; see `messageToJson`. Not in `print.ts`: commands without a server start without Protobuf. */
export function printMessage<Desc extends DescMessage>(shell: Shell, schema: Desc, message: MessageShape<Desc>): void {
  printJson(shell, messageToJson(schema, message));
}
