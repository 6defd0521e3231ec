import type { Command } from "commander";
import { addExamples } from "./examples.ts";
import { printLine } from "./print.ts";
import { addSettingsOptions, readConfig, type SettingsOptions } from "./settings-options.ts";
import type { Shell } from "./shell.ts";
import { stopSignal } from "./stop-signal.ts";

/** `claviger serve` */
export function addServe(parent: Command, shell: Shell): void {
  const command = addSettingsOptions(parent.command("serve"))
    .description("run the server until it is told to stop; every flag is an environment variable too")
    .action((options: SettingsOptions) => serveUntilStopped(shell, options));
  addExamples(
    command,
    "claviger serve                              # everything in this process, data in .claviger/",
    "claviger serve --listen 127.0.0.1:5000",
    "DATABASE_URL=postgres://… claviger serve    # one node of a cluster",
  );
}

/** The first stop signal drains: calls under way are answered. */
async function serveUntilStopped(shell: Shell, options: SettingsOptions): Promise<void> {
  const stopped = stopSignal(shell);
  const config = await readConfig(shell, options);
  const { serve } = await import("../server/serve.ts");
  const server = await serve({
    config,
    announce: (line) => printLine(shell, line),
    command: shell.command,
    isTerminal: shell.stdout.isTTY === true,
  });
  await stopped;
  await server.close();
}
