import { redactSecrets } from "../../keys/redact.ts";
import { isThenable } from "./check-options.ts";

/**
 * Wraps a function of the application that is told of events. An error that it throws, or rejects with, becomes a
 * warning of the process, once: it neither ends the process nor changes the fate of the call that the event is about.
 *
 * @param name of the option, for the warning
 */
export function createListener<Event>(name: string, listener: (event: Event) => unknown): (event: Event) => void {
  let hasWarned = false;
  const warn = (error: unknown) => {
    if (hasWarned) return;
    hasWarned = true;
    process.emitWarning(`${name} failed: ${describe(error)}. Catch errors inside ${name}`, "ClavigerWarning");
  };
  return (event) => {
    try {
      const result = listener(event);
      if (isThenable(result)) Promise.resolve(result).catch(warn);
    } catch (error) {
      warn(error);
    }
  };
}

/** Different defects that one `requireKey` warns of, at most: a message may hold something of each call. */
const MOST_DEFECTS = 10;

/** Makes the default of `onUndecided` for defects: a warning of the process, once for each message. */
export function createDefectWarning(): (cause: unknown) => void {
  const told = new Set<string>();
  return (cause) => {
    const message = describe(cause);
    if (told.has(message) || told.size >= MOST_DEFECTS) return;
    told.add(message);
    const text = `requireKey refused a call as INTERNAL: ${message}. Correct the options of requireKey, or set onUndecided`;
    process.emitWarning(text, { type: "ClavigerWarning", code: "CLAVIGER_DEFECT" });
  };
}

function describe(error: unknown): string {
  return error instanceof Error ? redactSecrets(`${error.name}: ${error.message}`) : `it threw a ${typeof error}`;
}
