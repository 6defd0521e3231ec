import type { Command } from "commander";
import { ReportLeakedSecretResponseSchema } from "#gen/claviger/v1/key_management_pb.js";
import { withConnection } from "../connection.ts";
import { readSecret, refuseArguments } from "../input/read-secret.ts";
import { addExamples, addServerOptions, type ServerOptions } from "../input/server-options.ts";
import { printMessage, printText } from "../output/print.ts";
import type { Shell } from "../shell.ts";

interface ReportLeakedOptions extends ServerOptions {
  readonly source: string;
}

/** `claviger report-leaked` */
export function addReportLeaked(command: Command, shell: Shell): void {
  refuseArguments(addServerOptions(command))
    .option("--source <text>", "where it was found", "")
    .action(async (options: ReportLeakedOptions) => {
      const secret = await readSecret(shell);
      await withConnection(shell, options, async ({ management }) => {
        const response = await management.reportLeakedSecret({ secret, source: options.source });
        if (options.json) printMessage(shell, ReportLeakedSecretResponseSchema, response);
        else
          printText(
            shell,
            "reported: if it was a secret in use, its key is revoked (the answer is the same for every input)",
          );
      });
    });
  addExamples(command, "claviger report-leaked --source https://gist.example/1 < found.txt");
}
