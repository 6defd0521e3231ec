/**
 * The exit codes of the process. 1 is kept for verdicts, so that a script can tell "this key is bad" from everything
 * else, above all from "could not decide".
 */
export const EXIT = {
  /** Done, or `VALID`. */
  ok: 0,
  /** Verified, and the verdict is not `VALID`. */
  denied: 1,
  /** The command line or a setting is wrong; nothing was asked. */
  usage: 2,
  /** Claviger refused. */
  refused: 3,
  /** Claviger could not decide: no connection, no answer in time, a defect. */
  undecided: 4,
  /** A defect ended a server: the log says which. EX_SOFTWARE of sysexits.h. */
  defect: 70,
  /** Ctrl-C at the prompt: 128 + SIGINT, the code of shells. */
  interrupted: 130,
} as const;

export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/** One field of a request that breaks its rule. */
export interface Violation {
  /** Path of the field, such as `key.display_name`. */
  readonly field: string;
  readonly description: string;
}

export interface CliErrorOptions {
  readonly message: string;
  readonly exitCode: ExitCode;
  /**
   * A gRPC code's name such as `NOT_FOUND`, or `USAGE`, `STARTUP`, `INTERRUPTED`, `DEFECT` for an error that never left
   * this process.
   */
  readonly code: string;
  /** `reason` of `google.rpc.ErrorInfo`. Default empty: the error does not come from Claviger. */
  readonly reason?: string;
  readonly metadata?: Readonly<Record<string, string>>;
  readonly violations?: readonly Violation[];
  /** Lines for people below the message. Default none. */
  readonly details?: readonly string[];
  readonly cause?: unknown;
}

/** A failure that is ready to be shown. */
export class CliError extends Error {
  override readonly name = "CliError";
  readonly exitCode: ExitCode;
  readonly code: string;
  readonly reason: string;
  readonly metadata: Readonly<Record<string, string>>;
  readonly violations: readonly Violation[];
  readonly details: readonly string[];

  constructor(options: CliErrorOptions) {
    super(options.message, { cause: options.cause });
    this.exitCode = options.exitCode;
    this.code = options.code;
    this.reason = options.reason ?? "";
    this.metadata = options.metadata ?? {};
    this.violations = options.violations ?? [];
    this.details = options.details ?? [];
  }
}

/** The command line is wrong. `message` says what is right, and repeats nothing that may be a secret. */
export function usageError(message: string): CliError {
  return new CliError({ message, exitCode: EXIT.usage, code: "USAGE" });
}
