import type { Shell } from "./shell.ts";

/**
 * How long after the first signal another counts as its echo: Ctrl-C reaches every process of the terminal, and npm and
 * our own launcher pass it on once more. A person is slower.
 */
const ECHO_MS = 250;

/** Resolves on the first SIGTERM or SIGINT. The second ends the process at once, with 1. */
export function stopSignal(shell: Pick<Shell, "onStopSignal" | "now" | "exit">): Promise<void> {
  return new Promise((resolve) => {
    let first: number | undefined;
    shell.onStopSignal(() => {
      const now = shell.now().getTime();
      if (first !== undefined && now - first > ECHO_MS) shell.exit(1);
      first ??= now;
      resolve();
    });
  });
}
