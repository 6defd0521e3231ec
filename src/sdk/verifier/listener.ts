import { redactSecrets } from "../../keys/secret.ts";
import { isThenable } from "./check-options.ts";

/**
 * Wraps an event listener of the application. Its first error or rejection becomes a warning of the process: errors of
 * listeners neither end the process nor change the call that the event is about.
 *
 * @param name the option's name, for the warning
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

/** Limit on the defects that one `requireKey` reports, because a message may vary with each call. */
const MAX_DEFECTS = 10;

/** Creates the default of `onUndecided` for defects: a warning of the process, once for each message. */
export function createDefectWarning(): (cause: unknown) => void {
  const reported = new Set<string>();
  return (cause) => {
    const message = describe(cause);
    if (reported.has(message) || reported.size >= MAX_DEFECTS) return;
    reported.add(message);
    const text = `requireKey refused a call as INTERNAL: ${message}. Correct the options of requireKey, or set onUndecided`;
    process.emitWarning(text, { type: "ClavigerWarning", code: "CLAVIGER_DEFECT" });
  };
}

function describe(error: unknown): string {
  return error instanceof Error ? redactSecrets(`${error.name}: ${error.message}`) : `it threw a ${typeof error}`;
}
