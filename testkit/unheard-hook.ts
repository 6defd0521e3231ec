import { appendFileSync } from "node:fs";

/**
 * Notes every uncaught exception, every unhandled rejection and every warning of Node in the file that the environment
 * names. It does not change the behaviour of the process.
 */
/** Warnings of node:sqlite on Node 22, and of the SDK, which warns where nothing listens to it. */
const EXPECTED: ReadonlySet<string> = new Set(["ExperimentalWarning", "ClavigerWarning"]);

const file = process.env.CLAVIGER_TEST_UNHEARD;
if (file !== undefined) {
  const note = (kind: string, what: unknown) => {
    const text = what instanceof Error ? (what.stack ?? what.message) : String(what);
    appendFileSync(file, `${kind} in process ${process.pid}: ${text}\n`);
  };
  process.on("uncaughtExceptionMonitor", (error, kind) => note(kind, error));
  process.on("warning", (warning) => {
    if (!EXPECTED.has(warning.name)) note("warning", warning);
  });
}
