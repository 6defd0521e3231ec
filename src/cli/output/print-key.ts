import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import type { Key, RevocationReceipt } from "#gen/claviger/v1/key_pb.js";
import type { Shell } from "../shell.ts";
import { describeKey } from "./describe-key.ts";
import { describeReceipt } from "./describe-receipt.ts";
import { expiryWarning } from "./expiry-warning.ts";
import { printLine, warnLine } from "./print.ts";
import { printMessage } from "./print-message.ts";

/** A response that is about one key. */
export interface KeyResponse<Desc extends DescMessage> {
  readonly schema: Desc;
  readonly response: MessageShape<Desc> & {
    readonly key?: Key | undefined;
    readonly receipt?: RevocationReceipt | undefined;
  };
  readonly json: boolean;
}

/** Prints it: the key, when its change was effective, and a warning if its secret expires soon. */
export function printKey<Desc extends DescMessage>(shell: Shell, { schema, response, json }: KeyResponse<Desc>): void {
  const { key, receipt } = response;
  if (json || key === undefined) {
    printMessage(shell, schema, response);
    return;
  }
  printLine(shell, describeKey(key, shell));
  if (receipt !== undefined) printLine(shell, `\n${describeReceipt(receipt)}`);
  const warning = expiryWarning([key], shell);
  if (warning !== "") warnLine(shell, warning);
}
