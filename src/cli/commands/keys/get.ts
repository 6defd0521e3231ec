import type { Command } from "commander";
import { GetKeyResponseSchema } from "#gen/claviger/v1/key_management_pb.js";
import { withConnection } from "../../connection.ts";
import { keyIdArgument } from "../../input/key-options.ts";
import { addExamples, addServerOptions, type ServerOptions } from "../../input/server-options.ts";
import { printKey } from "../../output/print-key.ts";
import type { Shell } from "../../shell.ts";

/** `claviger keys get` */
export function addGet(command: Command, shell: Shell): void {
  addServerOptions(command)
    .addArgument(keyIdArgument())
    .action((keyId: string, options: ServerOptions) =>
      withConnection(shell, options, async ({ management }) => {
        const response = await management.getKey({ keyId });
        printKey(shell, { schema: GetKeyResponseSchema, response, json: options.json === true });
      }),
    );
  addExamples(command, "claviger keys get key_01hzy3v7mkf5c9q2w8xanb4tde");
}
