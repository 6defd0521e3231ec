import { type Command, Option } from "commander";
import { RevokeKeyResponseSchema, RevokeKeysResponseSchema } from "#gen/claviger/v1/key_management_pb.js";
import { RevocationReasonSchema } from "#gen/claviger/v1/key_pb.js";
import { usageError } from "../../cli-error.ts";
import { type Connection, withConnection } from "../../connection.ts";
import { enumNames, enumValue } from "../../input/enum-names.ts";
import { isKeyId, KEY_ID_HELP, labelOption, ownerOption } from "../../input/key-options.ts";
import { readSecret, secretAsArgument } from "../../input/read-secret.ts";
import { addExamples, addServerOptions, type ServerOptions } from "../../input/server-options.ts";
import { describeReceipt } from "../../output/describe-key.ts";
import { printLine, printMessage } from "../../output/print.ts";
import { printKey } from "../../output/print-key.ts";
import type { Shell } from "../../shell.ts";

interface RevokeOptions extends ServerOptions {
  readonly secret?: true;
  readonly owner?: string;
  readonly label?: Record<string, string>;
  readonly dryRun?: true;
  readonly reason?: string;
  readonly note: string;
}

/** `claviger keys revoke` */
export function addRevoke(command: Command, shell: Shell): void {
  addServerOptions(command)
    .argument("[key-id]", "key_…")
    .option("--secret", "read a secret from standard input, or from a prompt, and revoke its key")
    .addOption(ownerOption("revoke all keys of this owner"))
    .addOption(labelOption("revoke all keys with this label, and of --owner if given"))
    .option("--dry-run", "with --owner or --label: count the keys, and revoke none")
    .addOption(new Option("--reason <reason>", "why").choices(enumNames(RevocationReasonSchema)))
    .option("--note <text>", "anything worth remembering; no secrets", "")
    .action((keyId: string | undefined, options: RevokeOptions) => revoke(shell, keyId, options));
  addExamples(
    command,
    "claviger keys revoke key_01hzy3v7mkf5c9q2w8xanb4tde --reason compromised",
    'printf %s "$SECRET" | claviger keys revoke --secret',
    "claviger keys revoke --owner u42 --label team=billing --dry-run",
  );
}

async function revoke(shell: Shell, keyId: string | undefined, options: RevokeOptions): Promise<void> {
  const bulk = options.owner !== undefined || options.label !== undefined;
  // Before anything else is said of the argument: it may be a secret.
  if (options.secret && keyId !== undefined) throw secretAsArgument();
  if (keyId !== undefined && !isKeyId(keyId)) throw usageError(`<key-id> is not valid. ${KEY_ID_HELP}`);
  if ([keyId !== undefined, options.secret === true, bulk].filter(Boolean).length !== 1) {
    throw usageError("say which: a key id, or --secret, or --owner and --label");
  }
  if (options.dryRun && !bulk) {
    throw usageError(
      "--dry-run goes with --owner or --label, nothing was revoked; look at one key with `claviger keys get`",
    );
  }
  const secret = options.secret ? await readSecret(shell) : "";
  await withConnection(shell, options, async (connection) => {
    if (bulk) return revokeMany(shell, connection, options);
    const reason = enumValue(RevocationReasonSchema, options.reason);
    const response = await connection.management.revokeKey({ keyId: keyId ?? "", secret, reason, note: options.note });
    printKey(shell, { schema: RevokeKeyResponseSchema, response, json: options.json === true });
  });
}

async function revokeMany(shell: Shell, { management }: Connection, options: RevokeOptions): Promise<void> {
  const response = await management.revokeKeys({
    owner: options.owner ?? "",
    labelSelector: options.label ?? {},
    reason: enumValue(RevocationReasonSchema, options.reason),
    note: options.note,
    validateOnly: options.dryRun === true,
  });
  if (options.json) return printMessage(shell, RevokeKeysResponseSchema, response);
  const keys = `${response.keyCount} key${response.keyCount === 1 ? "" : "s"}`;
  printLine(shell, options.dryRun ? `${keys} would be revoked` : `${keys} revoked`);
  if (response.receipt !== undefined) printLine(shell, describeReceipt(response.receipt));
}
