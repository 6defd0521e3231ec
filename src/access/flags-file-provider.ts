import { readFile } from "node:fs/promises";
import {
  type EvaluationContext,
  FlagNotFoundError,
  OpenFeatureEventEmitter,
  type Provider,
  ProviderEvents,
  type ResolutionDetails,
  TypeMismatchError,
} from "@openfeature/server-sdk";
import { messageOf } from "../keys/errors.ts";
import { applyRule, type FlagRule } from "./flag-rule.ts";
import { parseFlags } from "./parse-flags.ts";

export interface FlagsFileOptions {
  /** Path of the JSON file that `parseFlags` reads. */
  readonly file: string;
  /** Repeats the work until stopped, at the interval at which changes of the file take effect. */
  readonly repeat: (work: () => Promise<void>) => { stop(): void };
  /**
   * Called once when a file in use becomes invalid or missing. The flags keep their values. The message is complete.
   */
  readonly onProblem: (error: Error) => void;
}

/**
 * An OpenFeature provider of boolean flags in a JSON file that may change at any time. Initialising rejects if the file
 * is bad, and says why. The file is polled, not watched: docs/decisions/0015-polled-files.md.
 */
export class FlagsFileProvider implements Provider {
  readonly metadata = { name: "claviger flags file" };
  readonly runsOn = "server";
  readonly events = new OpenFeatureEventEmitter();
  readonly #options: FlagsFileOptions;
  #flags: ReadonlyMap<string, FlagRule> = new Map();
  /** The text of the last read, or why the read failed. An unchanged file is not parsed again. */
  #lastRead: string | undefined;
  #watch: { stop(): void } | undefined;

  constructor(options: FlagsFileOptions) {
    this.#options = options;
  }

  async initialize(): Promise<void> {
    await this.#refresh();
    this.#watch = this.#options.repeat(() => this.#refreshOrKeep());
  }

  async onClose(): Promise<void> {
    this.#watch?.stop();
  }

  async resolveBooleanEvaluation(
    flag: string,
    _default: boolean,
    context: EvaluationContext,
  ): Promise<ResolutionDetails<boolean>> {
    return applyRule({ flag, rule: this.#ruleOf(flag), targetingKey: context.targetingKey });
  }

  async resolveStringEvaluation(flag: string): Promise<never> {
    throw this.#notBoolean(flag);
  }

  async resolveNumberEvaluation(flag: string): Promise<never> {
    throw this.#notBoolean(flag);
  }

  async resolveObjectEvaluation(flag: string): Promise<never> {
    throw this.#notBoolean(flag);
  }

  #ruleOf(flag: string): FlagRule {
    const rule = this.#flags.get(flag);
    if (rule === undefined) throw new FlagNotFoundError(`${this.#options.file} has no flag ${flag}`);
    return rule;
  }

  #notBoolean(flag: string): Error {
    this.#ruleOf(flag);
    return new TypeMismatchError(`${flag} is a boolean`);
  }

  async #refreshOrKeep(): Promise<void> {
    try {
      if (await this.#refresh()) this.events.emit(ProviderEvents.ConfigurationChanged, { message: "the file changed" });
    } catch (error) {
      const problem = messageOf(error);
      this.#options.onProblem(new Error(`${problem}; until then the flags stay as they were`, { cause: error }));
    }
  }

  /** Whether the file differs from the last read. Throws if the new content is invalid. */
  async #refresh(): Promise<boolean> {
    const { file } = this.#options;
    const read = await readText(file);
    const content = read.text ?? `unreadable: ${read.problem}`;
    if (content === this.#lastRead) return false;
    this.#lastRead = content;
    if (read.text === undefined) throw new Error(`${file} cannot be read (${read.problem}). Put it there, readable`);
    try {
      this.#flags = parseFlags(read.text);
    } catch (error) {
      throw new Error(`${file} ${messageOf(error)}`);
    }
    return true;
  }
}

async function readText(file: string): Promise<{ readonly text?: string; readonly problem?: string }> {
  try {
    return { text: await readFile(file, "utf8") };
  } catch (error) {
    return { problem: error instanceof Error && "code" in error ? String(error.code) : "an error" };
  }
}
