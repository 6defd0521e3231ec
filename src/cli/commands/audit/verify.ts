import { readFile } from "node:fs/promises";
import type { Command } from "commander";
import type { KeptHead } from "../../../server/operator.ts";
import { CliError, EXIT, usageError } from "../../cli-error.ts";
import { addExamples } from "../../input/server-options.ts";
import {
  addSettingsOptions,
  DATABASE_SETTINGS,
  readConfig,
  type SettingsOptions,
} from "../../input/settings-options.ts";
import { noteLine, printLine, printText } from "../../output/print.ts";
import type { Shell } from "../../shell.ts";

/** `claviger audit verify` */
export function addAuditVerify(command: Command, shell: Shell): void {
  addSettingsOptions(command, DATABASE_SETTINGS)
    .option("--head <file>", "a head that was kept elsewhere: without one, a cut-off end cannot be seen")
    .option("--json", "print the result as JSON, and errors too")
    .action(async (options: SettingsOptions) => {
      const kept = typeof options.head === "string" ? await readHead(options.head) : undefined;
      const config = await readConfig(shell, options, DATABASE_SETTINGS);
      const { verifyAudit } = await import("../../../server/operator.ts");
      const { head, events, problem, unchecked } = await verifyAudit(config, kept);
      if (problem !== undefined) {
        const message = `the audit log is not intact: ${problem.place}: ${problem.what}`;
        throw new CliError({ message, exitCode: EXIT.denied, code: "AUDIT_BROKEN", metadata: { ...problem } });
      }
      if (unchecked.first !== undefined) throw uncheckedError({ ...unchecked, events, first: unchecked.first });
      const hash = head.hash.toString("hex");
      const text = `the audit log is intact: ${head.sequence} events, head ${hash}`;
      if (options.json === true) printLine(shell, JSON.stringify({ sequence: head.sequence, hash }, null, 2));
      else printText(shell, text);
    });
  addExamples(
    command,
    "claviger audit verify",
    "claviger audit verify --head kept-head.json  # sees a cut-off end too",
  );
}

interface Unchecked {
  readonly count: number;
  readonly events: number;
  readonly first: { readonly place: string; readonly what: string };
}

/** Neither intact nor broken: nothing shows who wrote these events. */
function uncheckedError({ count, events, first }: Unchecked): CliError {
  const message = `the audit log is intact as far as it can be checked: ${count} of ${events} events cannot be, the first is ${first.place}: ${first.what}. Put that root secret at the end of CLAVIGER_ROOT_SECRETS and verify again; if there is none, the event was changed or inserted`;
  const metadata = { ...first, unchecked: String(count), events: String(events) };
  return new CliError({ message, exitCode: EXIT.undecided, code: "AUDIT_UNCHECKED", metadata });
}

async function readHead(file: string): Promise<KeptHead> {
  const { headFromJson } = await import("../../../server/operator.ts");
  const text = await readFile(file, "utf8").catch(() => undefined);
  if (text === undefined)
    throw usageError(`cannot read ${file}: name the file that \`claviger audit head\` was kept in`);
  const head = headFromJson(text);
  if (head === undefined) throw usageError(`${file} is no head: keep what \`claviger audit head\` prints, as it is`);
  return head;
}

/** `claviger audit head` */
export function addAuditHead(command: Command, shell: Shell): void {
  addSettingsOptions(command, DATABASE_SETTINGS).action(async (options: SettingsOptions) => {
    const config = await readConfig(shell, options, DATABASE_SETTINGS);
    const { auditHead, headToJson } = await import("../../../server/operator.ts");
    const head = await auditHead(config);
    if (head === undefined) noteLine(shell, "the audit log is empty");
    else printLine(shell, headToJson(head));
  });
  addExamples(command, "claviger audit head > kept-head.json", "claviger audit verify --head kept-head.json");
}
