import type { Command } from "commander";
import { GetKeyResponseSchema } from "#gen/claviger/v1/key_management_pb.js";
import { withConnection } from "../connection.ts";
import { addExamples } from "../examples.ts";
import { addServerOptions, type ServerOptions } from "../server-options.ts";
import type { Shell } from "../shell.ts";
import { printKey } from "./print-key.ts";

/** `claviger keys get` */
export function addGet(parent: Command, shell: Shell): void {
  const command = addServerOptions(parent.command("get"))
    .description("show one key and the record of its secrets")
    .argument("<key-id>", "key_…")
    .action((keyId: string, options: ServerOptions) =>
      withConnection(shell, options, async ({ management }) => {
        const response = await management.getKey({ keyId });
        printKey(shell, { schema: GetKeyResponseSchema, response, json: options.json === true });
      }),
    );
  addExamples(command, "claviger keys get key_01hzy3v7mkf5c9q2w8xanb4tde");
}
