import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import type { Provider } from "@openfeature/server-sdk";
import { messageOf } from "../../keys/errors.ts";
import { within } from "../../system/timers.ts";

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
