import type { Command } from "commander";
import { RetireSecretResponseSchema } from "#gen/claviger/v1/key_management_pb.js";
import { withConnection } from "../../connection.ts";
import { integerParser, keyIdArgument } from "../../input/key-options.ts";
import { addExamples, addServerOptions, type ServerOptions } from "../../input/server-options.ts";
import { printKey } from "../../output/print-key.ts";
import type { Shell } from "../../shell.ts";

interface RetireOptions extends ServerOptions {
  readonly version: number;
}

/** `claviger keys retire` */
export function addRetire(command: Command, shell: Shell): void {
  addServerOptions(command)
    .addArgument(keyIdArgument())
    .requiredOption("--version <number>", "which secret; `claviger keys get` lists them", integerParser(1))
    .action((keyId: string, options: RetireOptions) =>
      withConnection(shell, options, async ({ management }) => {
        const response = await management.retireSecret({ keyId, version: options.version });
        printKey(shell, { schema: RetireSecretResponseSchema, response, json: options.json === true });
      }),
    );
  addExamples(command, "claviger keys retire key_01hzy3v7mkf5c9q2w8xanb4tde --version 1");
}
