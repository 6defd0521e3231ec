import type { Command } from "commander";
import type { ServerConfig } from "../../server/config/config.ts";
import type { WorkerLink } from "../../server/workers/worker.ts";
import { addExamples } from "../input/server-options.ts";
import { ALL_SETTINGS, addSettingsOptions, readConfig, type SettingsOptions } from "../input/settings-options.ts";
import { notifySystemd } from "../notify-systemd.ts";
import { printLine } from "../output/print.ts";
import { type Shell, stopSignal } from "../shell.ts";

/** `claviger serve` */
export function addServe(command: Command, shell: Shell): void {
  addSettingsOptions(command, ALL_SETTINGS).action((options: SettingsOptions) => serveUntilStopped(shell, options));
  addExamples(
    command,
    "claviger serve                              # all in one, data in .claviger/",
    "claviger serve --listen 127.0.0.1:5000",
    "DATABASE_URL=postgres://… claviger serve    # one node of a cluster",
    "DATABASE_URL=postgres://… claviger serve --workers auto  # one for each core",
  );
}

/** The first stop signal drains: calls under way are answered. */
async function serveUntilStopped(shell: Shell, options: SettingsOptions): Promise<void> {
  const stopped = stopSignal(shell);
  const config = await readConfig(shell, options, ALL_SETTINGS);
  const { openWorkerLink } = await import("../../server/workers/worker.ts");
  const link = openWorkerLink();
  const told = new Promise<void>((resolve) => link?.onStop(resolve));
  const stop = Promise.race([stopped, told]);
  try {
    const server = await start(shell, { config, link, stopped: stop });
    if (link === undefined) await notifySystemd(shell);
    await stop;
    await server.close();
  } finally {
    link?.release();
  }
}

/** Serves in this process; or, if several are asked for and this is none of them, in those. */
async function start(
  shell: Shell,
  {
    config,
    link,
    stopped,
  }: { readonly config: ServerConfig; readonly link: WorkerLink | undefined; readonly stopped: Promise<void> },
): Promise<{ close(): Promise<void> }> {
  const announce = (line: string) => printLine(shell, line);
  if (config.workers > 1 && link === undefined) {
    const { serveWithWorkers } = await import("../../server/workers/workers.ts");
    return serveWithWorkers({ config, announce, onDefect: shell.onDefect });
  }
  const { serve } = await import("../../server/serve.ts");
  const lines: string[] = [];
  const server = await serve({
    config,
    link,
    stopped,
    announce: link === undefined ? announce : (line) => lines.push(line),
    version: shell.version,
    command: shell.command,
    onDefect: shell.onDefect,
    isTerminal: shell.stdout.isTTY === true,
  });
  link?.ready(lines);
  return server;
}
