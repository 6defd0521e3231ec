import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { NOOP_PROVIDER, OpenFeature, type Provider, ProviderEvents } from "@openfeature/server-sdk";
import type { Logger } from "pino";
import { ALWAYS_ON, createFeatureFlag, type FeatureFlag } from "../../access/feature-flag.ts";
import { FlagsFileProvider } from "../../access/flags-file-provider.ts";
import { messageOf } from "../../keys/errors.ts";
import { systemRandom } from "../../system/node.ts";
import { every, within } from "../../system/timers.ts";
import { Outage } from "../observe/outage.ts";
import { StartupError } from "../startup-error.ts";

/** How soon a change of the flags file is seen. */
const REREAD_EVERY_MS = 1000;
/** How long a start waits for a provider of the operator's: to reach its own server, with a retry. */
const PROVIDER_START_MS = 5000;

export interface OpenFlagsOptions {
  /** `CLAVIGER_FLAGS_FILE`: a `.json` file of flags, or a module of an OpenFeature provider; undefined: always on. */
  readonly setting: string | undefined;
  readonly log: Logger;
}

export interface OpenFlags {
  readonly flag: FeatureFlag;
  /** Lets go of the provider, and has it closed. Never rejects. */
  close(): Promise<void>;
}

/** Opens what the setting names; StartupError says what is wrong with it and what to do. */
export async function openFlags({ setting, log }: OpenFlagsOptions): Promise<OpenFlags> {
  if (setting === undefined) return { flag: ALWAYS_ON, close: async () => undefined };
  if (setting.endsWith(".json")) return openFile(setting, log);
  if (/\.[cm]?[jt]s$/.test(setting)) return openModule(setting, log);
  throw startupError(
    `${setting} is neither a .json file of flags nor a .js, .mjs, .cjs or .ts module. Give one of them`,
  );
}

async function openFile(file: string, log: Logger): Promise<OpenFlags> {
  const provider = new FlagsFileProvider({
    file,
    repeat: (work) => every(REREAD_EVERY_MS, work),
    onProblem: (error) => log.warn({ event: "flags" }, error.message),
  });
  const { flags, started } = bind(provider, log);
  try {
    await started;
    return flags;
  } catch (error) {
    await flags.close();
    throw startupError(describe(error));
  }
}

/**
 * A module that is wrong stops the start; a provider that is down does not: verification and revocation must run, and
 * the flag is off until the provider is back.
 */
async function openModule(path: string, log: Logger): Promise<OpenFlags> {
  const provider = await loadFlagProvider(path, PROVIDER_START_MS).catch((error: unknown) => {
    throw startupError(`${path} ${describe(error)}`);
  });
  const { flags, started } = bind(provider, log);
  await within(PROVIDER_START_MS, started).catch((error: unknown) => {
    const message = `the flag provider of ${path} did not start; until it does, API key management is off`;
    log.error({ event: "flags", err: error }, message);
  });
  return flags;
}

/** Gives the provider a domain of its own. Why: docs/decisions/0016-openfeature-flag.md. */
function bind(provider: Provider, log: Logger): { readonly flags: OpenFlags; readonly started: Promise<void> } {
  const domain = `claviger-${Buffer.from(systemRandom(16)).toString("hex")}`;
  const started = OpenFeature.setProviderAndWait(domain, provider);
  const client = OpenFeature.getClient(domain).setLogger(log);
  client.addHandler(ProviderEvents.ConfigurationChanged, () => log.info({ event: "flags" }, "feature flags changed"));
  const outage = new Outage({
    ...{ log, event: "flags" },
    failing: "a feature flag could not be evaluated, and is off. Check what CLAVIGER_FLAGS_FILE names",
    well: "feature flags can be evaluated again",
  });
  const flag = createFeatureFlag({
    client,
    onError: (error) => outage.failed(error),
    onEvaluated: () => outage.succeeded(),
  });
  const close = async () => {
    // The SDK closes a provider once no domain is left that it is bound to.
    await OpenFeature.setProviderAndWait(domain, NOOP_PROVIDER).catch((error: unknown) =>
      log.warn({ event: "flags", err: error }, "the flag provider did not close"),
    );
  };
  return { flags: { flag, close }, started };
}

function startupError(problem: string): StartupError {
  return new StartupError(`CLAVIGER_FLAGS_FILE: ${problem}`);
}

function describe(error: unknown): string {
  return messageOf(error);
}

/**
 * The OpenFeature provider of a module: its default export, or the result of that function, which may be async. The
 * path is relative to the working directory.
 *
 * @throws Error that names the fault of the module and the right form.
 */
export async function loadFlagProvider(path: string, timeoutMs: number): Promise<Provider> {
  const made = await within(timeoutMs, makeDefault(path)).catch((cause: unknown) => {
    const why = messageOf(cause);
    throw new Error(`cannot be loaded: ${why}. Correct the module or its path`, { cause });
  });
  if (isProvider(made)) return made;
  throw new Error(
    "does not make an OpenFeature provider for servers. Make one its default export, or a function that returns one",
  );
}

async function makeDefault(path: string): Promise<unknown> {
  const module: unknown = await import(pathToFileURL(resolve(path)).href);
  const exported = defaultOf(module);
  // Compilers put the default export of a CommonJS module one deeper.
  const made = isProvider(exported) ? exported : (defaultOf(exported) ?? exported);
  return typeof made === "function" ? await made() : made;
}

function defaultOf(value: unknown): unknown {
  return typeof value === "object" && value !== null && "default" in value ? value.default : undefined;
}

function isProvider(value: unknown): value is Provider {
  if (typeof value !== "object" || value === null) return false;
  const { metadata, runsOn, resolveBooleanEvaluation }: Partial<Record<keyof Provider, unknown>> = value;
  const isNamed = typeof metadata === "object" && metadata !== null && "name" in metadata;
  return isNamed && (runsOn ?? "server") === "server" && typeof resolveBooleanEvaluation === "function";
}
