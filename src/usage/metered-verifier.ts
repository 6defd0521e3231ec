import type { CachedSecret } from "../keys/cached-secret.ts";
import { ClavigerError } from "../keys/errors.ts";
import type { Verdict } from "../keys/lifecycle.ts";
import type { Charged } from "../keys/limits.ts";
import type { Verification, VerifyCommand } from "../verify/verifier.ts";
import type { Charges } from "./charges.ts";
import type { UsageRecorder } from "./recorder.ts";

/** A question, and the attributes under which its answer is counted. */
export interface MeteredCommand extends VerifyCommand {
  /** The RPC that the question authorises, `/package.Service/Method`; empty if it is not known. */
  readonly method: string;
  /** The charge against the key's limits; 0 checks them and charges nothing. */
  readonly cost: number;
}

/** The decision, including limits. */
export interface Metered extends Verification {
  /** Set with `rate_limited` and `quota_exhausted`, unless no retry can succeed. */
  readonly retryAfterMs?: number;
}

/** The path of a question: through Connect's router, past it, or on a stream of `Sync`. */
export type Lane = "router" | "fast" | "sync";

/** The caller, and the path of its question. */
export interface Asker {
  /** The calling key; empty without one. */
  readonly callerId: string;
  readonly lane: Lane;
}

export interface MeteredVerifierOptions {
  readonly verifier: {
    verifyCached(command: VerifyCommand): Verification | undefined;
    verify(command: VerifyCommand): Promise<Verification>;
    verifyCaller(command: VerifyCommand): Promise<Verification>;
    verifyAll(commands: readonly VerifyCommand[]): Promise<Verification[]>;
  };
  readonly charges: Charges | undefined;
  readonly recorder: Pick<UsageRecorder, "record">;
  /** The answer for a key with limits while the limiter is unavailable. */
  readonly onLimiterLoss: "allow" | "deny";
}

/** Verifies, charges valid answers, and counts decisions. */
export class MeteredVerifier {
  readonly counters = {
    verdicts: {
      router: new Map<Verdict, number>(),
      fast: new Map<Verdict, number>(),
      sync: new Map<Verdict, number>(),
    },
    allowedUncharged: 0,
  };
  readonly #options: MeteredVerifierOptions;

  constructor(options: MeteredVerifierOptions) {
    this.#options = options;
  }

  /** The answer from memory, counted. Undefined, and not counted, if the answer takes I/O. */
  verifyCached(command: MeteredCommand, asker: Asker): Metered | undefined {
    const verification = this.#options.verifier.verifyCached(command);
    if (verification === undefined || isLimited(verification)) return undefined;
    this.#count(command, verification, asker);
    return verification;
  }

  async verify(command: MeteredCommand, asker: Asker): Promise<Metered> {
    const metered = await this.#charge(command, await this.#options.verifier.verify(command));
    this.#count(command, metered, asker);
    return metered;
  }

  /** Verifies in order. Rejects as a whole, and then counts nothing. */
  async verifyAll(commands: readonly MeteredCommand[], asker: Asker): Promise<Metered[]> {
    const verifications = await this.#options.verifier.verifyAll(commands);
    const charged = await Promise.all(
      commands.map((command, at) => this.#charge(command, verifications[at] as Verification)),
    );
    for (const [at, metered] of charged.entries()) this.#count(commands[at] as MeteredCommand, metered, asker);
    return charged;
  }

  /**
   * Verifies the credential of a caller of Claviger's own `method`. Counts it as a use of the key, and never charges
   * it.
   */
  async verifyCaller(command: VerifyCommand, method: string): Promise<Verification> {
    const verification = await this.#options.verifier.verifyCaller(command);
    if (verification.found !== undefined) this.#record({ method: `/${method}`, cost: 0 }, verification, "");
    return verification;
  }

  /** The caller's key if memory shows that it is valid; then also counted. */
  verifyCallerCached(command: VerifyCommand, method: string): CachedSecret | undefined {
    const verification = this.#options.verifier.verifyCached(command);
    if (verification?.decision.verdict !== "valid") return undefined;
    this.#record({ method: `/${method}`, cost: 0 }, verification, "");
    return verification.found;
  }

  async #charge({ cost }: MeteredCommand, verification: Verification): Promise<Metered> {
    const { found } = verification;
    if (!found?.limits || !isLimited(verification)) return verification;
    const charged = await this.#ask(found.keyId, found.limits, cost);
    if (charged.outcome === "charged") return verification;
    const { retryAfterMs } = charged;
    const decision = { verdict: charged.outcome, missingScopes: [] };
    return { ...verification, decision, ...(retryAfterMs === undefined ? {} : { retryAfterMs }) };
  }

  async #ask(keyId: string, limits: Parameters<Charges["charge"]>[1], cost: number): Promise<Charged> {
    const { charges, onLimiterLoss } = this.#options;
    try {
      if (charges === undefined) throw new Error("no limiter is configured");
      return await charges.charge(keyId, limits, cost);
    } catch (cause) {
      if (onLimiterLoss === "deny") throw limiterUnavailable(cause);
      this.counters.allowedUncharged += 1;
      return { outcome: "charged" };
    }
  }

  #count(command: MeteredCommand, metered: Metered, { callerId, lane }: Asker): void {
    const { verdict } = metered.decision;
    const verdicts = this.counters.verdicts[lane];
    verdicts.set(verdict, (verdicts.get(verdict) ?? 0) + 1);
    // Without a calling key the method is unauthenticated: the finder of a dead secret could fill tables with names.
    if (callerId === "" && isDead(metered)) this.#record({ method: "", cost: command.cost }, metered, callerId);
    else this.#record(command, metered, callerId);
  }

  #record(
    { method, cost }: Pick<MeteredCommand, "method" | "cost">,
    { decision, found }: Pick<Verification, "decision" | "found">,
    callerId: string,
  ): void {
    const { verdict } = decision;
    const counted = verdict === "valid" ? cost : 0;
    if (found === undefined) {
      // Unauthenticated callers could name any number of methods.
      const named = callerId === "" ? "" : method;
      this.#options.recorder.record({ keyId: "", callerId, version: 0, verdict, method: named, cost: counted });
    } else {
      const { keyId, version } = found;
      this.#options.recorder.record({ keyId, callerId: "", version, verdict, method, cost: counted }, found);
    }
  }
}

function isDead({ found }: Verification): boolean {
  return found !== undefined && found.standing !== "valid";
}

function isLimited({ decision, found }: Verification): boolean {
  return decision.verdict === "valid" && found !== undefined && found.limits !== null;
}

function limiterUnavailable(cause: unknown): ClavigerError {
  return new ClavigerError(
    "LIMITER_UNAVAILABLE",
    "the key has limits, and what counts them does not answer. Retry in a moment",
    { cause },
  );
}
