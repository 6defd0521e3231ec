import { type Command, InvalidArgumentError, Option } from "commander";
import { DAY_MS } from "../../system/clocks.ts";
import { usageError } from "../cli-error.ts";
import { parseDuration } from "./duration.ts";

/** The options of every command that talks to a server. */
export interface ServerOptions {
  /** Default `CLAVIGER_URL`, then `http://127.0.0.1:4640`. */
  readonly url?: string;
  /** Milliseconds for each call. Default 15 s: above the longest wait of a revocation, below a person's patience. */
  readonly timeout: number;
  readonly json?: true;
  /** Where to call and as whom, for a command that finds it out itself. Default: flags, variables, then a profile. */
  readonly endpoint?: Endpoint;
}

/** A server, and the credential to call it with. */
export interface Endpoint {
  readonly url: string;
  readonly token: string | undefined;
  /** The address of the profile, where its key is not sent since it is another one. */
  readonly profileUrl?: string | undefined;
}

const DEFAULT_TIMEOUT_MS = 15_000;
// Timers of Node fire at once beyond 24.8 days.
const LONGEST_TIMEOUT_MS = DAY_MS;

/** Adds them. */
export function addServerOptions(command: Command): Command {
  return command
    .addOption(
      new Option("--url <url>", "where the server is (default: CLAVIGER_URL, the profile, or http://127.0.0.1:4640)"),
    )
    .addOption(
      new Option("--timeout <duration>", "how long to wait for an answer")
        .argParser(parseTimeout)
        .default(DEFAULT_TIMEOUT_MS, "15s"),
    )
    .addOption(new Option("--json", "print the response as JSON, and errors too"))
    .addOption(new Option("--token [token]").hideHelp())
    .hook("preAction", (_, action) => {
      if (action.opts().token === undefined) return;
      throw usageError(
        "a credential is never an argument (this one is in your shell's history now: revoke it); set CLAVIGER_TOKEN or CLAVIGER_TOKEN_FILE, or run `claviger login`",
      );
    });
}

function parseTimeout(text: string): number {
  const milliseconds = parseDuration(text);
  if (milliseconds < 1 || milliseconds > LONGEST_TIMEOUT_MS) throw new InvalidArgumentError("Give 1ms to 24h");
  return milliseconds;
}

/** Adds examples to a command's help, a line each. */
export function addExamples(command: Command, ...examples: readonly string[]): Command {
  return command.addHelpText("after", `\nExamples:\n${examples.map((example) => `  ${example}`).join("\n")}`);
}
