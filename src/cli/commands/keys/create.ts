import { create, type JsonObject } from "@bufbuild/protobuf";
import type { Duration } from "@bufbuild/protobuf/wkt";
import type { Command } from "commander";
import { CreateKeyRequestSchema, CreateKeyResponseSchema } from "#gen/claviger/v1/key_management_pb.js";
import { EnvironmentSchema } from "#gen/claviger/v1/key_pb.js";
import { withConnection } from "../../connection.ts";
import { enumValue } from "../../input/enum-names.ts";
import {
  cidrOption,
  environmentOption,
  type LimitOptions,
  labelOption,
  limitOptions,
  limitsOf,
  metadataOption,
  notEmpty,
  ownerOption,
  scopeOption,
  ttlOption,
} from "../../input/key-options.ts";
import { addExamples, addServerOptions, type ServerOptions } from "../../input/server-options.ts";
import { describeKey } from "../../output/describe-key.ts";
import { printMessage } from "../../output/print.ts";
import { printMintedSecret, quietOption } from "../../output/print-key.ts";
import type { Shell } from "../../shell.ts";

interface CreateOptions extends ServerOptions, LimitOptions {
  readonly name: string;
  readonly owner?: string;
  readonly environment?: string;
  readonly scope?: string[];
  readonly label?: Record<string, string>;
  readonly metadata?: JsonObject;
  readonly cidr?: string[];
  readonly ttl?: Duration;
  readonly quiet?: true;
}

/** `claviger keys create` */
export function addCreate(command: Command, shell: Shell): void {
  addServerOptions(command)
    .requiredOption("-n, --name <name>", "what to call the key, 1 to 63 characters", notEmpty)
    .addOption(ownerOption("whom the key is for (default: the caller)"))
    .addOption(environmentOption("what the key is for (default: live)"))
    .addOption(scopeOption("what a holder may do, such as orders:read or orders:*"))
    .addOption(labelOption("a mark to select keys by"))
    .addOption(metadataOption())
    .addOption(cidrOption())
    .addOption(ttlOption("how long each secret of the key lasts, at most 90d (default: 90d)"))
    .addOption(quietOption());
  for (const option of limitOptions()) command.addOption(option);
  command.action((options: CreateOptions) =>
    withConnection(shell, options, async ({ management }) => {
      const response = await management.createKey(createRequest(options));
      const { key, secret } = response;
      if (options.json || key === undefined) return printMessage(shell, CreateKeyResponseSchema, response);
      const description = describeKey(key, shell);
      printMintedSecret(shell, { key, secret, description, quiet: options.quiet === true });
    }),
  );
  addExamples(
    command,
    "claviger keys create --name demo",
    "SECRET=$(claviger keys create --name demo --quiet)",
    "claviger keys create --name partner --requests-per-second 50 --burst 100",
    "claviger keys create --name reports --owner u42 --scope orders:read --ttl 30d",
  );
}

function createRequest(options: CreateOptions) {
  const { name, owner, environment, scope, label, metadata, cidr, ttl } = options;
  const limits = limitsOf(options);
  return create(CreateKeyRequestSchema, {
    displayName: name,
    ...(limits === undefined ? {} : { limits }),
    owner: owner ?? "",
    environment: enumValue(EnvironmentSchema, environment),
    scopes: scope ?? [],
    labels: label ?? {},
    metadata,
    allowedCidrs: cidr ?? [],
    ttl,
  });
}
