import { create } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import type { Command } from "commander";
import { KeyManagement } from "#gen/claviger/v1/key_management_pb.js";
import { KeyVerifier } from "#gen/claviger/v1/key_verifier_pb.js";
import {
  type HealthCheckResponse,
  HealthCheckResponse_ServingStatusSchema,
  HealthCheckResponseSchema,
  HealthListResponseSchema,
  HealthCheckResponse_ServingStatus as ServingStatus,
} from "#gen/grpc/health/v1/health_pb.js";
import { REASON_HEADER } from "../../wire/errors.ts";
import { EXIT } from "../cli-error.ts";
import { type Connection, withConnection } from "../connection.ts";
import { enumName } from "../input/enum-names.ts";
import { addExamples, addServerOptions, type ServerOptions } from "../input/server-options.ts";
import { noteLine, printLine, printMessage } from "../output/print.ts";
import { printable } from "../output/printable.ts";
import { formatTable } from "../output/table.ts";
import type { Shell } from "../shell.ts";

/** The process, and its two services. */
const SERVICES = ["", KeyVerifier.typeName, KeyManagement.typeName];

interface HealthOptions extends ServerOptions {
  readonly service?: string;
}

/** `claviger health` */
export function addHealth(command: Command, shell: Shell): void {
  addServerOptions(command)
    .option("--service <service>", `ask only about this one, such as ${KeyVerifier.typeName}; "" is the process`)
    .action((options: HealthOptions) =>
      withConnection(shell, options, async ({ health }) => {
        const reasons: string[] = [];
        const onReason = (reason: string) => void reasons.push(reason);
        const services = options.service === undefined ? SERVICES : [options.service];
        const checks = await Promise.all(
          services.map(async (service) => [service, await check(health, { service, onReason })] as const),
        );
        if (checks.some(([, { status }]) => status !== ServingStatus.SERVING)) shell.exitCode = EXIT.undecided;
        if (options.json) {
          const statuses = Object.fromEntries(checks);
          printMessage(shell, HealthListResponseSchema, create(HealthListResponseSchema, { statuses }));
        } else {
          printLine(
            shell,
            formatTable(checks.map(([service, { status }]) => [service || "(process)", statusName(status)])),
          );
        }
        for (const reason of reasons) noteLine(shell, printable(reason));
      }),
    );
  addExamples(
    command,
    "claviger health",
    "claviger health --service claviger.v1.KeyVerifier --timeout 1s  # for probes",
  ).addHelpText("after", "\nExit codes: 0 all serving, 4 otherwise");
}

async function check(
  health: Connection["health"],
  { service, onReason }: { readonly service: string; readonly onReason: (reason: string) => void },
): Promise<HealthCheckResponse> {
  try {
    return await health.check(
      { service },
      {
        onHeader(headers) {
          const reason = headers.get(REASON_HEADER);
          if (reason !== null) onReason(`${service || "the process"}: ${reason}`);
        },
      },
    );
  } catch (error) {
    if (!(error instanceof ConnectError) || error.code !== Code.NotFound) throw error;
    return create(HealthCheckResponseSchema, { status: ServingStatus.SERVICE_UNKNOWN });
  }
}

function statusName(status: ServingStatus): string {
  return enumName(HealthCheckResponse_ServingStatusSchema, status);
}
