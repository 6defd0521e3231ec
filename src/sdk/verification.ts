import type { Freshness, Verdict, VerifiedKey } from "#gen/claviger/v1/key_verifier_pb.js";

/** Keys for real use, keys for tests, or both. */
export type AskedEnvironment = "live" | "test" | "any";

/** The requirements of one verification, besides a good secret. */
export interface Question {
  /** The key must hold all of these. Default: none. At most 64 of at most 128 bytes, without `*`. */
  readonly scopes?: readonly string[];
  /** The RPC that is authorised, `/package.Service/Method`, for usage counts. Default: none. At most 256 bytes. */
  readonly method?: string;
  /** The caller's IPv4 or IPv6 address; needed for keys with `allowed_cidrs`. Default: unknown. */
  readonly clientIp?: string;
  /** The accepted keys; for a key of another environment, the verdict is `ENVIRONMENT_DENIED`. Default `any`. */
  readonly environment?: AskedEnvironment;
  /** The charge against the key's limits if the verdict is valid. Default 1; 0 checks the limits and charges nothing. */
  readonly cost?: number;
}

/** The decision about one call; do not keep it. It has the fields of `claviger.v1.VerifyResponse`. */
export interface Verification {
  readonly verdict: Verdict;
  /** The key, if the secret is genuine, whatever the verdict. */
  readonly key: VerifiedKey | undefined;
  /** When the presented secret stops being accepted: the earlier of its expiry and its retirement. */
  readonly secretExpireTime: Date | undefined;
  /** When the presented secret retires; set while it is retiring, so that the service can inform its holder. */
  readonly retireTime: Date | undefined;
  /** The required scopes that the key does not hold. */
  readonly missingScopes: readonly string[];
  /** Milliseconds after which to retry, with `RATE_LIMITED` and `QUOTA_EXHAUSTED`. */
  readonly retryAfterMs: number | undefined;
  readonly freshness: Freshness;
  /** The verdict accounts for every change up to this revision; 0 if it was decided without storage. */
  readonly revision: number;
}

export interface ReadyOptions {
  /** The longest wait in milliseconds. Default 10,000. */
  readonly timeoutMs?: number;
}

/**
 * Verifies in this process. An answer is true at the time of the question: a key is never valid after its revocation has
 * returned. If the verifier cannot decide, it rejects; it never fails open.
 */
export interface Verifier {
  /**
   * Answers from memory where possible, and asks the server otherwise.
   *
   * @throws ConnectError `UNAVAILABLE` if the verifier could not decide, which says nothing about the secret: retry;
   * `INVALID_ARGUMENT` for a wrong question; `UNAUTHENTICATED` or `PERMISSION_DENIED` if the server refuses this
   * verifier's own token
   */
  verify(secret: string, question?: Question): Promise<Verification>;
  /** Answers from memory; `"ask"` if the server is needed, as for every key with limits: then call `verify`. */
  verifySync(secret: string, question?: Question): Verification | "ask";
  /**
   * Waits until keys can be verified: the verifier has attached, or a server has answered a question. `verify` does not
   * need it. Use it in services that should not start without Claviger.
   *
   * @throws ConnectError `UNAUTHENTICATED` or `PERMISSION_DENIED`, or `UNAVAILABLE` with reason `VERIFIER_MISCONFIGURED`, as
   * soon as the set-up is known to be wrong; `UNAVAILABLE` after `timeoutMs` milliseconds, 10,000 by default. The message
   * names the cause and what to do
   */
  ready(options?: ReadyOptions): Promise<void>;
  /** When this verifier's own secret expires; undefined until a server has reported it, and if it does not expire. */
  readonly tokenExpireTime: Date | undefined;
  /** Whether the verifier may answer from memory at this moment. */
  readonly fresh: boolean;
  /** Answers account for every change up to this revision; 0 before the first lease. */
  readonly appliedRevision: number;
  /**
   * Ends all answers, sends the counted usage, gives the lease back and closes all connections. No counts are lost if a
   * server can be reached; otherwise they are dropped after `timeoutMs`.
   */
  close(): Promise<void>;
}
