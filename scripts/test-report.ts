import { mkdirSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type {
  Reporter,
  SerializedError,
  TestCase,
  TestModule,
  TestSpecification,
  TestSuite,
  Vitest,
} from "vitest/node";

/** Milliseconds between writes of the report. Failures are written at once. */
const WRITE_EVERY_MS = 250;
/** Maximum characters of a message: enough for the seeds and counts of a failed chaos run. */
const MOST_MESSAGE = 8000;
const SLOWEST = 15;

interface Failure {
  readonly file: string;
  /** The test; undefined for a failure outside one: an import, a hook of a suite, an unhandled error. */
  readonly test: string | undefined;
  readonly message: string;
  /** `file:line:column` */
  readonly at: string | undefined;
}

interface FinishedFile {
  readonly file: string;
  /** From its first import to the end of its last hook, in milliseconds. */
  readonly ms: number;
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

/** The state of a run; durations are in milliseconds. */
export interface TestReportContent {
  /** `running` in the file of a run that SIGKILL ended. */
  readonly outcome: "running" | "passed" | "failed" | `interrupted by ${NodeJS.Signals}`;
  readonly command: string;
  readonly began: string;
  readonly ms: number;
  readonly failures: readonly Failure[];
  readonly running: readonly { file: string; ms: number; tests: readonly { test: string; ms: number }[] }[];
  readonly notStarted: readonly string[];
  /** Slowest first. */
  readonly files: readonly FinishedFile[];
}

/**
 * Keeps `report.json` and `report.txt` in a folder while tests run, so that a killed run leaves a report. The files of
 * the preceding run are kept as `previous.json` and `previous.txt`.
 */
export class TestReport implements Reporter {
  readonly folder: string;
  readonly #began = new Date();
  readonly #failures: Failure[] = [];
  readonly #files: FinishedFile[] = [];
  readonly #planned = new Set<string>();
  /** The start time of each running file, and its running tests. */
  readonly #running = new Map<string, { readonly since: number; readonly tests: Map<string, number> }>();
  #outcome: TestReportContent["outcome"] = "running";
  #vitest: Vitest | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(folder: string) {
    this.folder = folder;
    mkdirSync(folder, { recursive: true });
    for (const kind of ["json", "txt"]) {
      try {
        renameSync(join(folder, `report.${kind}`), join(folder, `previous.${kind}`));
      } catch {
        // This is the first run.
      }
    }
  }

  onInit(vitest: Vitest): void {
    this.#vitest = vitest;
    this.#write();
  }

  onTestRunStart(specifications: readonly TestSpecification[]): void {
    for (const { moduleId } of specifications) this.#planned.add(this.#nameOf(moduleId));
    this.#write();
  }

  onTestModuleQueued({ moduleId }: TestModule): void {
    this.#running.set(this.#nameOf(moduleId), { since: performance.now(), tests: new Map() });
    this.#writeSoon();
  }

  onTestCaseReady(test: TestCase): void {
    this.#running.get(this.#nameOf(test.module.moduleId))?.tests.set(test.fullName, performance.now());
    this.#writeSoon();
  }

  onTestCaseResult(test: TestCase): void {
    const file = this.#nameOf(test.module.moduleId);
    this.#running.get(file)?.tests.delete(test.fullName);
    const { state, errors = [] } = test.result();
    if (state === "failed") this.#note(errors, { file, test: test.fullName });
    else this.#writeSoon();
  }

  onTestSuiteResult(suite: TestSuite): void {
    const file = this.#nameOf(suite.module.moduleId);
    this.#note(suite.errors(), { file, test: suite.fullName });
  }

  onTestModuleEnd(module: TestModule): void {
    const file = this.#nameOf(module.moduleId);
    const since = this.#running.get(file)?.since ?? performance.now();
    this.#running.delete(file);
    const states = [...module.children.allTests()].map((test) => test.result().state);
    const count = (state: string) => states.filter((one) => one === state).length;
    this.#files.push({
      file,
      ms: Math.round(performance.now() - since),
      passed: count("passed"),
      failed: count("failed"),
      skipped: count("skipped"),
    });
    this.#note(module.errors(), { file, test: undefined });
    this.#writeSoon();
  }

  onTestRunEnd(_modules: readonly TestModule[], unhandled: readonly SerializedError[]): void {
    this.#note(unhandled, { file: "", test: undefined });
  }

  /** Ends the report. */
  finish(outcome: Exclude<TestReportContent["outcome"], "running">): void {
    this.#outcome = outcome;
    // An interrupted run does not report these tests itself.
    if (outcome.startsWith("interrupted")) {
      this.#note(this.#vitest?.state.getUnhandledErrors() ?? [], { file: "", test: undefined });
    }
    this.#write();
  }

  content(): TestReportContent {
    const now = performance.now();
    const since = (from: number) => Math.round(now - from);
    const started = new Set([...this.#running.keys(), ...this.#files.map(({ file }) => file)]);
    return {
      outcome: this.#outcome,
      command: process.argv.slice(2).join(" "),
      began: this.#began.toISOString(),
      ms: Date.now() - this.#began.getTime(),
      failures: this.#failures,
      running: [...this.#running].map(([file, { since: from, tests }]) => ({
        file,
        ms: since(from),
        tests: [...tests].map(([test, begun]) => ({ test, ms: since(begun) })),
      })),
      notStarted: [...this.#planned].filter((file) => !started.has(file)),
      files: this.#files.toSorted((a, b) => b.ms - a.ms),
    };
  }

  /** A path relative to the repository. */
  #nameOf(path: string): string {
    const root = `${this.#vitest?.config.root}/`;
    return path.replace(/^file:\/\//, "").replace(root, "");
  }

  #note(errors: readonly unknown[], where: Pick<Failure, "file" | "test">): void {
    if (errors.length === 0) return;
    for (const error of errors) {
      const { message, at } = describeError(error as SerializedError);
      this.#failures.push({ ...where, message, at: at === undefined ? undefined : this.#nameOf(at) });
    }
    this.#write();
  }

  #writeSoon(): void {
    this.#timer ??= setTimeout(() => this.#write(), WRITE_EVERY_MS).unref();
  }

  #write(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const content = this.content();
    replaceFile(join(this.folder, "report.json"), `${JSON.stringify(content, null, 2)}\n`);
    replaceFile(join(this.folder, "report.txt"), describeReport(content));
  }
}

/** The report for people. */
export function describeReport(content: TestReportContent): string {
  const { outcome, failures, running, notStarted, files } = content;
  const broken = new Set(failures.map(({ file }) => file)).size;
  const counts = `${files.length} files done, ${broken} with failures, ${running.length} running, ${notStarted.length} not started`;
  const lines = [`test run ${outcome} after ${seconds(content.ms)}: ${counts}`];
  for (const { file, test, message, at } of failures) {
    lines.push("", `FAILED ${[file || "(no file)", test].filter(Boolean).join(" > ")}`);
    lines.push(...message.split("\n").map((line) => `  ${line}`), ...(at === undefined ? [] : [`  at ${at}`]));
  }
  if (running.length > 0) lines.push("", "running:");
  for (const { file, ms, tests } of running) {
    lines.push(`  ${file} for ${seconds(ms)}`);
    for (const { test, ms: testMs } of tests) lines.push(`    ${test} for ${seconds(testMs)}`);
  }
  if (notStarted.length > 0) lines.push("", "not started:", ...notStarted.map((file) => `  ${file}`));
  if (files.length > 0) lines.push("", "slowest files:");
  for (const { file, ms } of files.slice(0, SLOWEST)) lines.push(`  ${seconds(ms).padStart(8)}  ${file}`);
  return `${lines.join("\n")}\n`;
}

function describeError({ name, message, stack, stacks }: SerializedError): Pick<Failure, "message" | "at"> {
  const [top] = stacks ?? [];
  const text = name !== undefined && !message.startsWith(name) ? `${name}: ${message}` : message;
  const at = top === undefined ? firstFrame(stack) : `${top.file}:${top.line}:${top.column}`;
  return { message: text.slice(0, MOST_MESSAGE), at };
}

/** Unhandled errors outside tests have only a stack. */
function firstFrame(stack: string | undefined): string | undefined {
  return /\(?((?:file:\/\/|\/)[^\s()]+:\d+:\d+)\)?/.exec(stack ?? "")?.[1];
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}

/** A rename: neither a reader nor a crash sees half of a report. */
function replaceFile(path: string, text: string): void {
  writeFileSync(`${path}.new`, text);
  renameSync(`${path}.new`, path);
}
