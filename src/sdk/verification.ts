import type { Freshness, Verdict, VerifiedKey } from "#gen/claviger/v1/key_verifier_pb.js";

/** Keys for real use, keys for trying things out, or either. */
export type AskedEnvironment = "live" | "test" | "any";

/** What is asked about a secret, beside whether it is good. */
export interface Question {
  /** All must be held by the key. Default: none. At most 64 of at most 128 bytes, without `*`. */
  readonly scopes?: readonly string[];
  /** The RPC being authorised, `/package.Service/Method`, for usage. Default: not said. At most 256 bytes. */
  readonly method?: string;
  /** IPv4 or IPv6 address of whoever presented the secret; needed for keys with `allowed_cidrs`. Default: not known. */
  readonly clientIp?: string;
  /** Which keys are asked for; of another environment, the verdict is `ENVIRONMENT_DENIED`. Default `any`. */
  readonly environment?: AskedEnvironment;
  /** What to charge against the key's limits if the verdict is valid. Default 1; 0 looks and charges nothing. */
  readonly cost?: number;
}

/** What was decided, for one call: it is not to be kept. `claviger.v1.VerifyResponse` has the same, field by field. */
export interface Verification {
  readonly verdict: Verdict;
  /** The key, whenever the secret was genuine, whatever the verdict. */
  readonly key: VerifiedKey | undefined;
  /** When the presented secret stops being accepted: the earlier of its expiry and its retirement. */
  readonly secretExpireTime: Date | undefined;
  /** When the presented secret retires; set while it is retiring, so that its holder can be told. */
  readonly retireTime: Date | undefined;
  /** Which of the scopes that were asked for the key does not hold. */
  readonly missingScopes: readonly string[];
  /** Milliseconds after which to ask again, with `RATE_LIMITED` and `QUOTA_EXHAUSTED`. */
  readonly retryAfterMs: number | undefined;
  readonly freshness: Freshness;
  /** The verdict accounts for every change up to here; 0 if it was decided without storage. */
  readonly revision: number;
}

export interface ReadyOptions {
  /** Milliseconds to wait at most. Default 10,000. */
  readonly timeoutMs?: number;
}

/**
 * Verifies in this process. Whatever it answers was true when it was asked: a key whose revocation has returned before
 * is never valid. What it cannot decide it refuses; it never fails open.
 */
export interface Verifier {
  /**
   * Answers from memory where it can, and asks the server otherwise.
   *
   * @throws ConnectError `UNAVAILABLE` if it could not be decided, which says nothing about the secret: retry;
   * `INVALID_ARGUMENT` for a question that breaks a rule; `UNAUTHENTICATED` or `PERMISSION_DENIED` if this verifier's own
   * token is no good
   */
  verify(secret: string, question?: Question): Promise<Verification>;
  /** The answer from memory; `"ask"` if it takes the server, as for every key with limits: then call `verify`. */
  verifySync(secret: string, question?: Question): Verification | "ask";
  /**
   * Waits until keys can be verified: the verifier has attached, or a server has answered a question. Not necessary before
   * `verify`; for services that would rather not start than start without it.
   *
   * @throws ConnectError `UNAUTHENTICATED` or `PERMISSION_DENIED`, or `UNAVAILABLE` with reason `VERIFIER_MISCONFIGURED`, as
   * soon as the set-up is known to be wrong; `UNAVAILABLE` after `timeoutMs` milliseconds, 10,000 by default. The message
   * is the cause, and what to do
   */
  ready(options?: ReadyOptions): Promise<void>;
  /** When the secret that this verifier calls with ends; undefined until a server has said it, and if it does not end. */
  readonly tokenExpireTime: Date | undefined;
  /** Whether it may answer from memory at this moment. */
  readonly fresh: boolean;
  /** Every change up to here is accounted for; 0 before the first lease. */
  readonly appliedRevision: number;
  /**
   * Answers nothing any more, sends what was counted, gives the lease back and hangs up. While a server can be reached
   * nothing that was counted is lost; where none can, `timeoutMs` later it is given up.
   */
  close(): Promise<void>;
}
