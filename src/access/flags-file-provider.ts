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
import { applyRule, type FlagRule } from "./flag-rule.ts";
import { parseFlags } from "./parse-flags.ts";

export interface FlagsFileOptions {
  /** Path of the JSON file, as `parseFlags` reads it. */
  readonly file: string;
  /** Does the work again and again until stopped: as often as a change of the file should be seen. */
  readonly repeat: (work: () => Promise<void>) => { stop(): void };
  /** Told once when the file goes bad or missing while in use; the flags stay as they were. The message is complete. */
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
  /** The text last read, or why it could not be read: what has not changed is not judged again. */
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
      const problem = error instanceof Error ? error.message : String(error);
      this.#options.onProblem(new Error(`${problem}; until then the flags stay as they were`, { cause: error }));
    }
  }

  /** Whether the file differs from what was last read; throws if what it then says is bad. */
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
      throw new Error(`${file} ${error instanceof Error ? error.message : error}`);
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
