import type { Command } from "commander";
import { UpdateKeyResponseSchema } from "#gen/claviger/v1/key_management_pb.js";
import { withConnection } from "../connection.ts";
import { addExamples } from "../examples.ts";
import { addServerOptions, type ServerOptions } from "../server-options.ts";
import type { Shell } from "../shell.ts";
import { printKey } from "./print-key.ts";

/** `claviger keys disable` */
export function addDisable(parent: Command, shell: Shell): void {
  addSwitch(parent, shell, { name: "disable", disabled: true, description: "switch a key off until `enable`" });
}

/** `claviger keys enable` */
export function addEnable(parent: Command, shell: Shell): void {
  addSwitch(parent, shell, { name: "enable", disabled: false, description: "switch a disabled key on again" });
}

interface Switch {
  readonly name: string;
  readonly disabled: boolean;
  readonly description: string;
}

function addSwitch(parent: Command, shell: Shell, { name, disabled, description }: Switch): void {
  const command = addServerOptions(parent.command(name))
    .description(description)
    .argument("<key-id>", "key_…")
    .action((id: string, options: ServerOptions) =>
      withConnection(shell, options, async ({ management }) => {
        const response = await management.updateKey({ key: { id, disabled }, updateMask: { paths: ["disabled"] } });
        printKey(shell, { schema: UpdateKeyResponseSchema, response, json: options.json === true });
      }),
    );
  addExamples(command, `claviger keys ${name} key_01hzy3v7mkf5c9q2w8xanb4tde`);
}
