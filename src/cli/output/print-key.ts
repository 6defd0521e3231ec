import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import { Option } from "commander";
import type { Key, RevocationReceipt } from "#gen/claviger/v1/key_pb.js";
import type { Shell } from "../shell.ts";
import { describeKey, describeReceipt } from "./describe-key.ts";
import { expiryWarning } from "./describe-time.ts";
import { noteLine, printLine, printMessage, warnLine } from "./print.ts";

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

/** `--quiet`, for commands that mint a secret: `SECRET=$(claviger keys create --name demo --quiet)`. */
export function quietOption(): Option {
  return new Option("-q, --quiet", "print only the secret; the key id goes to standard error").conflicts("json");
}

/** The parts to print for a secret that was just made. */
export interface MintedSecret {
  readonly key: Key;
  readonly secret: string;
  /** The lines before the secret, for people. */
  readonly description: string;
  readonly quiet: boolean;
}

/** Prints a new secret, this once: on a line of its own. */
export function printMintedSecret(shell: Shell, { key, secret, description, quiet }: MintedSecret): void {
  if (quiet) {
    printLine(shell, secret);
    noteLine(shell, `key id: ${key.id}`);
  } else {
    printLine(shell, `${description}\n\nsecret, shown this once:\n${secret}`);
  }
  const warning = expiryWarning([key], shell);
  if (warning !== "") warnLine(shell, warning);
}
