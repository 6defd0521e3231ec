import { readFileSync } from "node:fs";
import { join, relative, sep } from "node:path";
import process from "node:process";
import { EXIT } from "./cli-error.ts";
import { run } from "./run.ts";
import type { Shell } from "./shell.ts";

/** Runs the command line of this process. It ends by itself once nothing is left to do. */
export async function main(): Promise<void> {
  const shell = createShell({ onDefect: handleDefects() });
  // A reader such as `head` may leave early; the error would have no reader.
  for (const stream of [process.stdout, process.stderr]) {
    stream.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code !== "EPIPE") throw error;
      process.exit(shell.exitCode);
    });
  }
  process.exitCode = await run(process.argv.slice(2), shell);
}

/**
 * The last resort: an exception that is not caught, or a rejection that is not heard, ends the process, as its state is
 * unknown. Node would exit with 1, which says "denied".
 */
function handleDefects(): Shell["onDefect"] {
  let report: Parameters<Shell["onDefect"]>[0] | undefined;
  process.on("uncaughtException", (error, kind) => {
    try {
      if (report !== undefined) report(error, kind);
      else process.stderr.write(`error: a defect, please report it: ${error.stack}\n`);
    } finally {
      process.exit(report === undefined ? EXIT.undecided : EXIT.defect);
    }
  });
  return (own) => {
    report = own;
  };
}

function createShell(given: Pick<Shell, "onDefect">): Shell {
  return {
    ...given,
    environment: process.env,
    stdin: process.stdin,
    stdout: process.stdout,
    stderr: process.stderr,
    columns: process.stdout.isTTY ? process.stdout.columns : undefined,
    timeZone: Intl.DateTimeFormat().resolvedOptions().timeZone,
    version: readVersion(),
    command: commandToPaste(),
    now: () => new Date(),
    onStopSignal: (listener) => {
      process.on("SIGTERM", listener);
      process.on("SIGINT", listener);
    },
    exit: (code) => process.exit(code),
    exitCode: EXIT.ok,
  };
}

function readVersion(): string {
  const manifest: unknown = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8"));
  const named = typeof manifest === "object" && manifest !== null && "version" in manifest;
  return named ? String(manifest.version) : "unknown";
}

/** In a clone this file runs as TypeScript, and the program's file is at hand; a package is run by its name. */
function commandToPaste(): string {
  if (!import.meta.filename.endsWith(".ts")) return "npx claviger";
  const file = join(import.meta.dirname, "..", "..", "bin", "claviger.js");
  const path = relative(process.cwd(), file);
  return path.startsWith("..") ? file : `.${sep}${path}`;
}
