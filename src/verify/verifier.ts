import type { Keyring } from "../keys/keyring.ts";
import { type FoundSecret, findByDigests } from "../postgres/secrets.ts";
import type { Storage } from "../postgres/storage.ts";
import { type Decision, decide, type Question } from "./decide.ts";

export type { FoundSecret };

/** A presented secret and what is asked about it. */
export interface VerifyCommand extends Question {
  readonly secret: string;
}

/** What was decided, and the key if the secret was genuine. */
export interface Verification {
  readonly decision: Decision;
  readonly found: FoundSecret | undefined;
}

export interface VerifierOptions {
  readonly keyring: Keyring;
  readonly storage: Storage;
}

/** Answers from storage each time: uncached, so that a change is obeyed by whatever begins after its commit. */
export class Verifier {
  readonly #options: VerifierOptions;

  constructor(options: VerifierOptions) {
    this.#options = options;
  }

  async verify(command: VerifyCommand): Promise<Verification> {
    const [verification] = await this.verifyAll([command]);
    if (verification === undefined) throw new Error("one question had no answer");
    return verification;
  }

  /** Decides about each command, in order, with at most one statement; rejects as a whole. */
  async verifyAll(commands: readonly VerifyCommand[]): Promise<Verification[]> {
    const recognised = commands.map((command) => this.#options.keyring.recognise(command.secret));
    const digests = recognised.flatMap((one) => (one.kind === "genuine" ? [one.digest] : []));
    const found =
      digests.length === 0
        ? new Map<string, FoundSecret>()
        : await this.#options.storage.read((database) => findByDigests(database, digests));
    return commands.map((command, index) => {
      const recognition = recognised[index];
      if (recognition === undefined || recognition.kind === "malformed") return without("malformed");
      if (recognition.kind === "forged") return without("unknown");
      const match = found.get(recognition.digest.toString("hex"));
      if (match === undefined) return without("unknown");
      return { decision: decide(match.key, match.secret, { ...command, now: match.now }), found: match };
    });
  }
}

function without(verdict: "malformed" | "unknown"): Verification {
  return { decision: { verdict, missingScopes: [] }, found: undefined };
}
