import { Command } from "commander";
import { addAuditHead } from "./audit/head.ts";
import { addAuditList } from "./audit/list.ts";
import { addAuditVerify } from "./audit/verify.ts";
import { addBootstrap } from "./bootstrap.ts";
import { addCanary } from "./canary.ts";
import { addExamples } from "./examples.ts";
import { addHealth } from "./health.ts";
import { addCreate } from "./keys/create.ts";
import { addDisable, addEnable } from "./keys/disable-enable.ts";
import { addGet } from "./keys/get.ts";
import { addList } from "./keys/list.ts";
import { addRetire } from "./keys/retire.ts";
import { addRevoke } from "./keys/revoke.ts";
import { addRotate } from "./keys/rotate.ts";
import { addUpdate } from "./keys/update.ts";
import { addMigrate } from "./migrate.ts";
import { addNodes } from "./nodes.ts";
import { addReportLeaked } from "./report-leaked.ts";
import { addServe } from "./serve.ts";
import type { Shell } from "./shell.ts";
import { addUsage } from "./usage.ts";
import { addVerify } from "./verify.ts";

/** The whole command line. Throws `CommanderError` instead of printing an error or exiting. */
export function createProgram(shell: Shell): Command {
  const program = new Command("claviger")
    .description("API keys for agents and developers")
    .version(shell.version, "--version", "print the version")
    // Else `--version` of `keys retire` would be taken for the one above.
    .enablePositionalOptions()
    .exitOverride()
    .configureOutput({
      writeOut: (text) => shell.stdout.write(text),
      writeErr: (text) => shell.stderr.write(text),
      outputError: () => {},
    });
  for (const add of [addServe, addMigrate, addBootstrap, addNodes]) add(program, shell);
  const keys = program.command("keys").description("manage keys");
  for (const add of [addCreate, addList, addGet, addUpdate, addRotate, addRetire, addRevoke, addDisable, addEnable]) {
    add(keys, shell);
  }
  const audit = program.command("audit").description("read and check the audit log");
  for (const add of [addAuditList, addAuditVerify, addAuditHead]) add(audit, shell);
  for (const add of [addVerify, addUsage, addReportLeaked, addHealth, addCanary]) add(program, shell);
  addExamples(keys, "claviger keys create --name demo", "claviger keys list --expires-before 14d");
  return addExamples(
    program,
    "claviger serve",
    "SECRET=$(claviger keys create --name demo --quiet)",
    'printf %s "$SECRET" | claviger verify',
    'printf %s "$SECRET" | claviger keys revoke --secret',
  ).addHelpText(
    "after",
    [
      "",
      "Environment:",
      "  CLAVIGER_URL                            where the server is (default: http://127.0.0.1:4640)",
      "  CLAVIGER_TOKEN, CLAVIGER_TOKEN_FILE     whom to call as",
      "  NO_COLOR                                no colours",
      "",
      "Exit codes: 0 OK or VALID, 1 another verdict, 2 usage, 3 refused by the server, 4 could not decide",
    ].join("\n"),
  );
}
