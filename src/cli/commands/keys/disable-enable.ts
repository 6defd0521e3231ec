import type { Command } from "commander";
import { UpdateKeyResponseSchema } from "#gen/claviger/v1/key_management_pb.js";
import { withConnection } from "../../connection.ts";
import { keyIdArgument } from "../../input/key-options.ts";
import { addExamples, addServerOptions, type ServerOptions } from "../../input/server-options.ts";
import { printKey } from "../../output/print-key.ts";
import type { Shell } from "../../shell.ts";

/** `claviger keys disable` */
export function addDisable(command: Command, shell: Shell): void {
  addSwitch(command, shell, true);
}

/** `claviger keys enable` */
export function addEnable(command: Command, shell: Shell): void {
  addSwitch(command, shell, false);
}

function addSwitch(command: Command, shell: Shell, disabled: boolean): void {
  addServerOptions(command)
    .addArgument(keyIdArgument())
    .action((id: string, options: ServerOptions) =>
      withConnection(shell, options, async ({ management }) => {
        const response = await management.updateKey({ key: { id, disabled }, updateMask: { paths: ["disabled"] } });
        printKey(shell, { schema: UpdateKeyResponseSchema, response, json: options.json === true });
      }),
    );
  addExamples(command, `claviger keys ${command.name()} key_01hzy3v7mkf5c9q2w8xanb4tde`);
}
