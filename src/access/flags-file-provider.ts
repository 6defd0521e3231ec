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
import { pause } from "../system/node.ts";
import { PolledFile } from "../system/polled-file.ts";
import { applyRule, type FlagRule, parseFlags } from "./flag-rule.ts";

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
  readonly #file: PolledFile<ReadonlyMap<string, FlagRule>>;
  #watch: { stop(): void } | undefined;

  constructor(options: FlagsFileOptions) {
    const { file } = options;
    this.#options = options;
    this.#file = new PolledFile({
      path: file,
      pause,
      parse: (text) => parseFile(file, text),
      unreadable: (code) => new Error(`${file} cannot be read (${code}). Put it there, readable`),
      onProblem: (error) => this.#reportInUse(error),
    });
  }

  async initialize(): Promise<void> {
    await this.#file.reread();
    this.#watch = this.#options.repeat(() => this.#refresh());
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
    const rule = this.#file.value?.get(flag);
    if (rule === undefined) throw new FlagNotFoundError(`${this.#options.file} has no flag ${flag}`);
    return rule;
  }

  #notBoolean(flag: string): Error {
    this.#ruleOf(flag);
    return new TypeMismatchError(`${flag} is a boolean`);
  }

  async #refresh(): Promise<void> {
    const before = this.#file.value;
    const flags = await this.#file.reread();
    if (flags !== before) this.events.emit(ProviderEvents.ConfigurationChanged, { message: "the file changed" });
  }

  /** A file that is bad at the start is refused by `initialize`. */
  #reportInUse(error: Error): void {
    if (this.#file.value === undefined) return;
    this.#options.onProblem(new Error(`${error.message}; until then the flags stay as they were`, { cause: error }));
  }
}

function parseFile(file: string, text: string): ReadonlyMap<string, FlagRule> {
  try {
    return parseFlags(text);
  } catch (error) {
    throw new Error(`${file} ${messageOf(error)}`);
  }
}
