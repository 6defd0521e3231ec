import { create, type JsonObject } from "@bufbuild/protobuf";
import { FieldMaskSchema } from "@bufbuild/protobuf/wkt";
import { type Command, Option } from "commander";
import { UpdateKeyResponseSchema } from "#gen/claviger/v1/key_management_pb.js";
import { type Key, KeySchema } from "#gen/claviger/v1/key_pb.js";
import { usageError } from "../../cli-error.ts";
import { type Connection, withConnection } from "../../connection.ts";
import {
  cidrOption,
  keyIdArgument,
  type LimitOptions,
  labelOption,
  limitOptions,
  limitsOf,
  metadataOption,
  notEmpty,
  scopeOption,
} from "../../input/key-options.ts";
import { addExamples, addServerOptions, type ServerOptions } from "../../input/server-options.ts";
import { printKey } from "../../output/print-key.ts";
import type { Shell } from "../../shell.ts";

/** The values of `--clear`, and the field that each empties. */
const CLEARABLE = {
  scopes: "scopes",
  labels: "labels",
  metadata: "metadata",
  cidrs: "allowed_cidrs",
  limits: "limits",
} as const;

interface UpdateOptions extends ServerOptions, LimitOptions {
  readonly name?: string;
  readonly scope?: string[];
  readonly label?: Record<string, string>;
  readonly metadata?: JsonObject;
  readonly cidr?: string[];
  readonly clear?: keyof typeof CLEARABLE;
  readonly etag?: string;
}

/** `claviger keys update` */
export function addUpdate(command: Command, shell: Shell): void {
  addServerOptions(command)
    .addArgument(keyIdArgument())
    .option("-n, --name <name>", "what to call the key", notEmpty)
    .addOption(scopeOption("what a holder may do"))
    .addOption(labelOption("a mark to select keys by"))
    .addOption(metadataOption())
    .addOption(cidrOption())
    .addOption(new Option("--clear <field>", "empty this field").choices(Object.keys(CLEARABLE)))
    .option("--etag <etag>", "change the key only if it still has this etag");
  for (const option of limitOptions()) command.addOption(option);
  command.action((keyId: string, options: UpdateOptions) =>
    withConnection(shell, options, async ({ management }) => {
      const response = await management.updateKey(
        updateRequest(keyId, options, await keyBefore(management, keyId, options)),
      );
      printKey(shell, { schema: UpdateKeyResponseSchema, response, json: options.json === true });
    }),
  );
  addExamples(
    command,
    "claviger keys update key_01hzy3v7mkf5c9q2w8xanb4tde --scope a:b --scope c:d",
    "claviger keys update key_01hzy3v7mkf5c9q2w8xanb4tde --clear cidrs",
  );
}

/**
 * Limits are replaced as one. To change one of them, the command reads the others, and the etag keeps them from
 * changing meanwhile.
 */
async function keyBefore(management: Connection["management"], keyId: string, options: UpdateOptions) {
  return limitsOf(options) === undefined ? undefined : (await management.getKey({ keyId })).key;
}

function updateRequest(id: string, options: UpdateOptions, before: Key | undefined) {
  const { name, scope, label, metadata, cidr, clear, etag = before?.etag } = options;
  const limits = limitsOf(options, before?.limits);
  const given = { display_name: name, scopes: scope, labels: label, metadata, allowed_cidrs: cidr, limits };
  const paths = Object.entries(given).flatMap(([path, value]) => (value === undefined ? [] : [path]));
  if (clear !== undefined) {
    if (paths.includes(CLEARABLE[clear])) throw usageError(`${clear} is both set and cleared: do one of them`);
    paths.push(CLEARABLE[clear]);
  }
  if (paths.length === 0)
    throw usageError("nothing to change: give --name, --scope, --label, --metadata, --cidr, a limit or --clear");
  const key = create(KeySchema, {
    id,
    displayName: name ?? "",
    scopes: scope ?? [],
    labels: label ?? {},
    metadata,
    allowedCidrs: cidr ?? [],
    etag: etag ?? "",
    ...(limits === undefined ? {} : { limits }),
  });
  return { key, updateMask: create(FieldMaskSchema, { paths }) };
}

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
