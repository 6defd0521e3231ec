import { readFile } from "node:fs/promises";
import type { Logger } from "pino";
import { type DeclaredAccess, readDeclaredAccess } from "../../gateways/declared-access.ts";
import { type FindPolicy, parsePolicies } from "../../gateways/policies.ts";
import { messageOf } from "../../keys/errors.ts";
import { pause } from "../../system/node.ts";
import { PolledFile } from "../../system/polled-file.ts";
import { every } from "../../system/timers.ts";
import type { ServerConfig } from "../config/config.ts";
import { StartupError } from "../startup-error.ts";

/** How soon a change of the policies file is seen. */
const REREAD_EVERY_MS = 1000;

export interface OpenGateways {
  readonly policies: FindPolicy;
  readonly declared: DeclaredAccess;
  close(): void;
}

export interface OpenGatewaysOptions {
  readonly config: Pick<ServerConfig, "authzPolicies" | "services">;
  readonly log: Logger;
}

/** Reads what the settings of gateways name; a bad file stops the start. */
export async function openGateways({ config, log }: OpenGatewaysOptions): Promise<OpenGateways> {
  const declared = await openServices(config.services);
  if (config.authzPolicies === undefined) return { policies: () => undefined, declared, close: () => undefined };
  const path = config.authzPolicies;
  const file = new PolledFile({
    ...{ path, pause },
    parse: (text) => within(path, () => parsePolicies(text)),
    unreadable: (code) => new Error(`${path} cannot be read (${code}). Put it there, readable`),
    // A file that is bad at the start stops it.
    onProblem: (error) =>
      void (
        file.value && log.warn({ event: "policies" }, `${error.message}; until then the policies stay as they were`)
      ),
  });
  await file.reread().catch((error: unknown) => {
    throw new StartupError(`CLAVIGER_AUTHZ_POLICIES: ${messageOf(error)}`);
  });
  const polling = every(REREAD_EVERY_MS, async () => void (await file.reread()));
  return { policies: (name) => file.value?.get(name), declared, close: () => polling.stop() };
}

async function openServices(files: readonly string[]): Promise<DeclaredAccess> {
  try {
    return readDeclaredAccess(await Promise.all(files.map((file) => readFile(file))));
  } catch (error) {
    throw new StartupError(`CLAVIGER_SERVICES: ${messageOf(error)}. Make the file with buf build -o services.binpb`);
  }
}

function within<Value>(path: string, parse: () => Value): Value {
  try {
    return parse();
  } catch (error) {
    throw new Error(`${path} ${messageOf(error)}`);
  }
}
