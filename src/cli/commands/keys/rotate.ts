import { create } from "@bufbuild/protobuf";
import type { Duration } from "@bufbuild/protobuf/wkt";
import { type Command, Option } from "commander";
import {
  RetireSecretResponseSchema,
  RotateKeyRequestSchema,
  type RotateKeyResponse,
  RotateKeyResponseSchema,
} from "#gen/claviger/v1/key_management_pb.js";
import type { Key } from "#gen/claviger/v1/key_pb.js";
import { withConnection } from "../../connection.ts";
import { integerParser, keyIdArgument, parseSpan, ttlOption } from "../../input/key-options.ts";
import { addExamples, addServerOptions, type ServerOptions } from "../../input/server-options.ts";
import { describeKey, describeReceipt } from "../../output/describe-key.ts";
import { createTimes } from "../../output/describe-time.ts";
import { printMessage } from "../../output/print.ts";
import { printKey, printMintedSecret, quietOption } from "../../output/print-key.ts";
import type { Shell } from "../../shell.ts";

interface RotateOptions extends ServerOptions {
  readonly grace?: Duration;
  readonly ttl?: Duration;
  readonly etag?: string;
  readonly quiet?: true;
}

/** `claviger keys rotate` */
export function addRotate(command: Command, shell: Shell): void {
  addServerOptions(command)
    .addArgument(keyIdArgument())
    .addOption(
      new Option("--grace <duration>", "how long the old secret stays good; 0 ends it now (default: 24h)").argParser(
        parseSpan,
      ),
    )
    .addOption(ttlOption("how long the new secret lasts, at most 90d (default: as the key was created)"))
    .option("--etag <etag>", "rotate the key only if it still has this etag")
    .addOption(quietOption())
    .action((keyId: string, options: RotateOptions) =>
      withConnection(shell, options, async ({ management }) => {
        const { grace: gracePeriod, ttl, etag = "" } = options;
        const response = await management.rotateKey(create(RotateKeyRequestSchema, { keyId, gracePeriod, ttl, etag }));
        const { key, secret } = response;
        if (options.json || key === undefined) return printMessage(shell, RotateKeyResponseSchema, response);
        const description = describeRotation(key, response, shell);
        printMintedSecret(shell, { key, secret, description, quiet: options.quiet === true });
      }),
    );
  addExamples(
    command,
    "claviger keys rotate key_01hzy3v7mkf5c9q2w8xanb4tde",
    "claviger keys rotate key_01hzy3v7mkf5c9q2w8xanb4tde --grace 0 -q > new.txt",
  );
}

function describeRotation(key: Key, { retiring, receipt }: RotateKeyResponse, shell: Shell): string {
  const old =
    retiring === undefined
      ? "the old secret was dead already"
      : `the old secret, version ${retiring.version}, ends ${createTimes(shell).describe(retiring.retireTime ?? retiring.expireTime)}`;
  return [describeKey(key, shell), "", old, describeReceipt(receipt)].join("\n").trimEnd();
}

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
