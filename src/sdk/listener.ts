import { redactSecrets } from "../keys/redact.ts";
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

function describe(error: unknown): string {
  return error instanceof Error ? redactSecrets(`${error.name}: ${error.message}`) : `it threw a ${typeof error}`;
}
