import type { CachedSecret } from "../keys/cached-secret.ts";
import { ClavigerError } from "../keys/errors.ts";
import type { Keyring } from "../keys/keyring.ts";
import { withSpan } from "../system/tracing.ts";
import { BatchedFind, type BatchedFindOptions } from "./batched-find.ts";
import { type Decision, decide, type Question } from "./decide.ts";
import { ReadBound, type ReadBoundOptions } from "./read-bound.ts";
import type { Ready } from "./ready-secret.ts";
import type { Fill, SecretCache } from "./secret-cache.ts";

/** A presented secret and the question about it. */
export interface VerifyCommand extends Question {
  readonly secret: string;
}

/** The evidence of a verdict; `claviger.v1.Freshness` describes each value. */
export type Freshness = "authoritative" | "leased" | "revocation_set";

/** The decision, and the key if the secret was genuine. */
export interface Verification {
  readonly decision: Decision;
  readonly found: CachedSecret | undefined;
  readonly freshness: Freshness;
  /** Every change up to this revision is accounted for; 0 if the decision needed no storage. */
  readonly revision: number;
}

/** Answers from the cache while the process has neither a lease nor a database. */
export interface LossFallback {
  /** Whether the database is known to be away now, so that a question to it would fail. */
  isAway(): boolean;
  /** Confirms that the entry still holds; rejects if that cannot be decided. */
  confirm(known: CachedSecret): Promise<void>;
}

export interface VerifierOptions extends ReadBoundOptions, BatchedFindOptions {
  readonly keyring: Keyring;
  readonly cache: SecretCache;
  /** Prepares a row for the cache; called once per row. */
  readonly ready: Ready;
  /** The last revision that the cache has applied. */
  readonly appliedRevision: () => number;
  /** Undefined: without a lease and a database, verifications fail. */
  readonly onLoss: LossFallback | undefined;
}

/** The limit for reading an uncached secret, and whether it had room when the request arrived. */
interface Admission {
  readonly bound: ReadBound;
  readonly mayRead: boolean;
}

interface Wanted extends Admission {
  readonly place: string;
  readonly digest: Buffer;
}

interface Read {
  readonly fill: Fill;
  readonly result: Promise<CachedSecret | undefined>;
}

/** Answers from memory while the lease is live, and from the primary otherwise. */
export class Verifier {
  readonly #options: VerifierOptions;
  readonly #find: BatchedFind;
  readonly #reads = new Map<string, Read>();
  readonly #questions: ReadBound;
  readonly #callers: ReadBound;
  /** Reused errors: an overloaded server must not spend time on creating them. */
  readonly #overloaded = new Map<number, ClavigerError>();

  constructor(options: VerifierOptions) {
    this.#options = options;
    this.#find = new BatchedFind(options);
    this.#questions = new ReadBound(options);
    this.#callers = new ReadBound(options);
  }

  /** The answer from memory; undefined if the answer takes I/O. */
  verifyCached(command: VerifyCommand): Verification | undefined {
    const { cache } = this.#options;
    const found = cache.find(cache.placeOf(command.secret));
    return found === undefined ? undefined : this.#answer(command, found, "leased");
  }

  verify(command: VerifyCommand): Promise<Verification> {
    return this.#verify(command, admissionTo(this.#questions));
  }

  /**
   * Verifies a caller's own credential under a limit of its own, so that a flood of questions does not block
   * `RevokeKey`.
   */
  verifyCaller(command: VerifyCommand): Promise<Verification> {
    return this.#verify(command, admissionTo(this.#callers));
  }

  async #verify(command: VerifyCommand, admission: Admission): Promise<Verification> {
    const { keyring, cache, onLoss } = this.#options;
    const place = cache.placeOf(command.secret);
    const cached = cache.find(place);
    if (cached !== undefined) return this.#answer(command, cached, "leased");
    const known = onLoss === undefined ? undefined : cache.findUnleased(place);
    // Refuses before it hashes the secret: under overload that work would be wasted.
    if (!admission.mayRead && known === undefined && this.#joinable(place) === undefined) {
      throw this.#refusal(admission.bound);
    }
    const recognition = keyring.recognise(command.secret);
    if (recognition.kind !== "genuine") return without(recognition.kind === "malformed" ? "malformed" : "unknown");
    const ask = () => this.#ask(command, { ...admission, place, digest: recognition.digest });
    if (onLoss === undefined || known === undefined) return ask();
    if (!onLoss.isAway()) {
      try {
        return await ask();
      } catch (error) {
        if (!onLoss.isAway()) throw error;
      }
    }
    await onLoss.confirm(known);
    return this.#answer(command, known, "revocation_set");
  }

  /** Decides about each command, in order; rejects as a whole. The limit admits all or none. */
  verifyAll(commands: readonly VerifyCommand[]): Promise<Verification[]> {
    const admission = admissionTo(this.#questions);
    return Promise.all(commands.map((command) => this.#verify(command, admission)));
  }

  async #ask(command: VerifyCommand, wanted: Wanted): Promise<Verification> {
    const found = await this.#read(wanted);
    return found === undefined ? without("unknown") : this.#answer(command, found, "authoritative");
  }

  async #read({ place, digest, bound, mayRead }: Wanted): Promise<CachedSecret | undefined> {
    const { cache } = this.#options;
    const running = this.#joinable(place);
    if (running !== undefined) {
      const found = await running.result;
      if (found === undefined || !cache.hasEnded(found)) return found;
    }
    if (!mayRead) throw this.#refusal(bound);
    const fill = cache.beginFill(place);
    const read = { fill, result: this.#load(fill, digest, bound) };
    this.#reads.set(place, read);
    const forget = () => void (this.#reads.get(place) === read && this.#reads.delete(place));
    read.result.then(forget, forget);
    return read.result;
  }

  /** Single flight: a running read of the same secret, if its result may still be used (docs/protocol/revocation.md#r20). */
  #joinable(place: string): Read | undefined {
    const { cache } = this.#options;
    const running = this.#reads.get(place);
    return running !== undefined && cache.mayJoin(running.fill) ? running : undefined;
  }

  #refusal(bound: ReadBound): ClavigerError {
    const most = bound.refuse();
    const refusal = this.#overloaded.get(most) ?? overloaded(most);
    this.#overloaded.set(most, refusal);
    return refusal;
  }

  async #load(fill: Fill, digest: Buffer, bound: ReadBound): Promise<CachedSecret | undefined> {
    const { cache, ready } = this.#options;
    bound.begin();
    try {
      const found = await withSpan({ name: "claviger.read_secret" }, () => this.#find.find(digest));
      return found && cache.keep(fill, ready(found, fill.start));
    } finally {
      bound.end();
    }
  }

  #answer(command: VerifyCommand, found: CachedSecret, freshness: Freshness): Verification {
    const decision = decide(found, command);
    const revision =
      freshness === "leased" ? Math.max(found.revision, this.#options.appliedRevision()) : found.revision;
    return { decision, found, freshness, revision };
  }
}

function admissionTo(bound: ReadBound): Admission {
  return { bound, mayRead: bound.hasRoom() };
}

function overloaded(most: number): ClavigerError {
  return new ClavigerError(
    "OVERLOADED",
    `too many concurrent secret look-ups (limit ${most}). Retry shortly with lower concurrency`,
    { metadata: { limit: String(most) } },
  );
}

function without(verdict: "malformed" | "unknown"): Verification {
  return { decision: { verdict, missingScopes: [] }, found: undefined, freshness: "authoritative", revision: 0 };
}
