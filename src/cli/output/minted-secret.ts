import { Option } from "commander";
import type { Key } from "#gen/claviger/v1/key_pb.js";
import type { Shell } from "../shell.ts";
import { expiryWarning } from "./expiry-warning.ts";
import { noteLine, printLine, warnLine } from "./print.ts";

/** `--quiet`, for commands that mint a secret: `SECRET=$(claviger keys create --name demo --quiet)`. */
export function quietOption(): Option {
  return new Option("-q, --quiet", "print only the secret; the key id goes to standard error").conflicts("json");
}

/** What to print of a secret that was just made. */
export interface MintedSecret {
  readonly key: Key;
  readonly secret: string;
  /** What comes before the secret, for people. */
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
