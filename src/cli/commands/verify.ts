import { create } from "@bufbuild/protobuf";
import type { Command } from "commander";
import { EnvironmentSchema } from "#gen/claviger/v1/key_pb.js";
import {
  Verdict,
  VerdictSchema,
  VerifyRequestSchema,
  type VerifyResponse,
  VerifyResponseSchema,
} from "#gen/claviger/v1/key_verifier_pb.js";
import { EXIT } from "../cli-error.ts";
import { withConnection } from "../connection.ts";
import { enumValue } from "../input/enum-names.ts";
import { environmentOption, integerParser, scopeOption } from "../input/key-options.ts";
import { readSecret, refuseArguments } from "../input/read-secret.ts";
import { addExamples, addServerOptions, type ServerOptions } from "../input/server-options.ts";
import { describeLabels } from "../output/describe-key.ts";
import { createTimes, endsSoon } from "../output/describe-time.ts";
import { printLine, printMessage, printText, warnLine } from "../output/print.ts";
import { formatFacts } from "../output/table.ts";
import type { Shell } from "../shell.ts";

interface VerifyOptions extends ServerOptions {
  readonly environment?: string;
  readonly scope?: readonly string[];
  readonly ip?: string;
  readonly method?: string;
  readonly cost?: number;
}

/** `claviger verify` */
export function addVerify(command: Command, shell: Shell): void {
  refuseArguments(addServerOptions(command))
    .addOption(scopeOption("a scope that the key must hold"))
    .addOption(environmentOption("which keys are accepted (default: any)"))
    .option("--ip <address>", "where the secret was presented from, for keys with --cidr")
    .option("--method <method>", "the RPC being authorised, /package.Service/Method")
    .option("--cost <number>", "how much to charge; 0 looks and charges nothing (default: 1)", integerParser(0))
    .action(async (options: VerifyOptions) => {
      const secret = await readSecret(shell);
      await withConnection(shell, options, async ({ verifier }) => {
        const response = await verifier.verify(verifyRequest(secret, options));
        if (response.verdict !== Verdict.VALID) shell.exitCode = EXIT.denied;
        if (options.json) printMessage(shell, VerifyResponseSchema, response);
        else printVerdict(shell, response);
      });
    });
  addExamples(
    command,
    'printf %s "$SECRET" | claviger verify',
    "claviger verify --scope orders:read --ip 10.1.2.3 < secret.txt",
    "claviger verify                             # asks for it, without echo",
  ).addHelpText(
    "after",
    "\nExit codes: 0 VALID, 1 another verdict, 2 usage, 3 refused by the server,\n            4 could not decide",
  );
}

function verifyRequest(secret: string, options: VerifyOptions) {
  const { environment, scope = [], ip = "", method = "", cost } = options;
  return create(VerifyRequestSchema, {
    secret,
    requiredScopes: [...scope],
    clientIp: ip,
    method,
    cost,
    environment: enumValue(EnvironmentSchema, environment),
  });
}

const MEANING: Readonly<Record<number, string>> = {
  [Verdict.MALFORMED]: "this is no Claviger secret: mistyped, or cut off",
  [Verdict.UNKNOWN]: "this Claviger did not make it, or no longer knows it",
  [Verdict.REVOKED]: "the key was revoked",
  [Verdict.DISABLED]: "the key is switched off",
  [Verdict.RETIRED]: "this secret was rotated out: use the new one",
  [Verdict.EXPIRED]: "this secret has expired: rotate the key",
  [Verdict.ENVIRONMENT_DENIED]: "the key is of another environment than --environment",
  [Verdict.ADDRESS_DENIED]: "the key may not be used from this address (--ip)",
  [Verdict.SCOPE_MISSING]: "the key does not hold all of these scopes",
  [Verdict.RATE_LIMITED]: "too many requests per second",
  [Verdict.QUOTA_EXHAUSTED]: "too many requests today",
  [Verdict.VALID]: "the key is good for this call",
};

function printVerdict(shell: Shell, response: VerifyResponse): void {
  const { verdict, key, secretExpireTime, retireTime, missingScopes } = response;
  const times = createTimes(shell);
  printText(
    shell,
    `${VerdictSchema.value[verdict]?.localName ?? verdict}: ${MEANING[verdict] ?? "see the server's documentation"}`,
  );
  const facts = [
    ["key id", key?.id],
    ["name", key?.displayName],
    ["owner", key?.owner],
    ["scopes", key?.scopes.join(" ")],
    ["missing", missingScopes.join(" ")],
    ["labels", describeLabels(key?.labels ?? {})],
    ["version", key && String(key.secretVersion)],
    ["ends", secretExpireTime && times.describe(secretExpireTime)],
  ].filter((fact): fact is [string, string] => Boolean(fact[1]));
  if (facts.length > 0) printLine(shell, formatFacts(facts, shell.columns));
  if (verdict !== Verdict.VALID || key === undefined) return;
  if (retireTime !== undefined) {
    warnLine(shell, `this secret was rotated out and ends ${times.describe(retireTime)}: use the new one`);
  } else if (endsSoon(secretExpireTime, shell.now())) {
    const rotate = `\`claviger keys rotate ${key.id}\``;
    warnLine(shell, `this secret expires ${times.describe(secretExpireTime)}: rotate it with ${rotate}`);
  }
}
