import { createHash } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { Environment } from "#gen/claviger/v1/key_pb.js";
import { Freshness, Verdict, VerifiedKeySchema } from "#gen/claviger/v1/key_verifier_pb.js";
import { ErrorInfoSchema } from "#gen/google/rpc/error_details_pb.js";
import { missingScopes } from "../../keys/scopes.ts";
import type { Question, Verification, Verifier } from "../verification.ts";

/** Characters of a real secret after its prefix. */
const SECRET_DIGITS = 49;

/** A key of a `FakeVerifier`. Default: a good live key without scopes. */
export interface FakeKey {
  /** The verdict on the key, whatever the question. Default: `VALID`. */
  readonly verdict?: Verdict;
  readonly environment?: "live" | "test";
  /** Wildcards count as in Claviger: `orders:*` covers `orders:read`. */
  readonly scopes?: readonly string[];
  readonly displayName?: string;
  readonly labels?: Readonly<Record<string, string>>;
  /** When the presented secret retires, as after a rotation. */
  readonly retireTime?: Date;
  /** Milliseconds, with a verdict about a limit. */
  readonly retryAfterMs?: number;
  /** The only address from which the key may be used. Default: any. */
  readonly address?: string;
}

/** A question that a `FakeVerifier` received. */
export interface AskedQuestion {
  readonly secret: string;
  readonly question: Question;
  /** `sync` for `verifySync`, `server` for `verify`. */
  readonly way: "sync" | "server";
}

/**
 * A verifier for tests: knows the keys that a test adds, and records all questions.
 *
 * @example
 * const verifier = new FakeVerifier();
 * const secret = verifier.addKey("alice", { scopes: ["orders:write"] });
 * const service = createService(verifier); // with requireKey(verifier)
 * verifier.revoke(secret); // the next call with it is refused
 */
export class FakeVerifier implements Verifier {
  /** By secret. */
  readonly keys = new Map<string, FakeKey>();
  readonly asked: AskedQuestion[] = [];
  /** Whether memory is empty, so that `verifySync` returns `"ask"`. */
  isForgetful = false;
  /** The error of every question, if set: `undecided()` sets it. */
  failure: Error | undefined;
  readonly fresh = true;
  readonly appliedRevision = 1;
  readonly tokenExpireTime = undefined;
  readonly #owners = new Map<string, string>();

  /** Adds a key of the owner. Returns its secret, which only this verifier knows; the same owner has the same secret. */
  addKey(owner: string, key: FakeKey = {}): string {
    const environment = key.environment ?? "live";
    // A hash, so that two owners never share a secret: each would have the scopes of the other.
    const secret = `clv_${environment}_${createHash("sha256").update(owner).digest("hex").slice(0, SECRET_DIGITS)}`;
    this.keys.set(secret, key);
    this.#owners.set(secret, owner);
    return secret;
  }

  /** Revokes the key. */
  revoke(secret: string): void {
    this.setVerdict(secret, Verdict.REVOKED);
  }

  /** Sets the verdict on the key; `Verdict.VALID` makes it good again. */
  setVerdict(secret: string, verdict: Verdict): void {
    const key = this.keys.get(secret);
    if (key === undefined) throw new Error("this fake verifier has no such key. Pass a secret that addKey() returned");
    this.keys.set(secret, { ...key, verdict });
  }

  /** Makes every question fail until `decided()`, as while Claviger is away. */
  undecided(): void {
    const error = new ConnectError("undecided() was called on this fake verifier", Code.Unavailable);
    error.details.push({ desc: ErrorInfoSchema, value: { domain: "claviger", reason: "SERVER_UNREACHABLE" } });
    this.failure = error;
  }

  /** Ends `undecided()`. */
  decided(): void {
    this.failure = undefined;
  }

  verifySync(secret: string, question: Question = {}): Verification | "ask" {
    if (this.isForgetful) return "ask";
    this.asked.push({ secret, question, way: "sync" });
    return this.#decide(secret, question);
  }

  async verify(secret: string, question: Question = {}): Promise<Verification> {
    this.asked.push({ secret, question, way: "server" });
    return this.#decide(secret, question);
  }

  async ready(): Promise<void> {
    if (this.failure !== undefined) throw this.failure;
  }

  async close(): Promise<void> {}

  #decide(secret: string, question: Question): Verification {
    if (this.failure !== undefined) throw this.failure;
    const key = this.keys.get(secret);
    const missing = missingScopes(key?.scopes ?? [], question.scopes ?? []);
    const verdict = verdictOf(key, question, missing);
    return {
      verdict,
      key: key && verifiedKey(this.#owners.get(secret) ?? "", key),
      secretExpireTime: key?.retireTime,
      retireTime: key?.retireTime,
      missingScopes: verdict === Verdict.SCOPE_MISSING ? missing : [],
      retryAfterMs: key?.retryAfterMs,
      freshness: Freshness.LEASED,
      revision: 1,
    };
  }
}

function verdictOf(key: FakeKey | undefined, question: Question, missing: readonly string[]): Verdict {
  if (key === undefined) return Verdict.UNKNOWN;
  const { verdict = Verdict.VALID, environment = "live", address } = key;
  const { environment: asked = "any", clientIp } = question;
  // Limits are checked last.
  const isLimit = verdict === Verdict.RATE_LIMITED || verdict === Verdict.QUOTA_EXHAUSTED;
  if (verdict !== Verdict.VALID && !isLimit) return verdict;
  if (asked !== "any" && asked !== environment) return Verdict.ENVIRONMENT_DENIED;
  if (address !== undefined && address !== clientIp) return Verdict.ADDRESS_DENIED;
  return missing.length > 0 ? Verdict.SCOPE_MISSING : verdict;
}

function verifiedKey(owner: string, { environment, scopes = [], labels = {}, displayName = "" }: FakeKey) {
  return create(VerifiedKeySchema, {
    id: `key_${owner}`,
    owner,
    displayName,
    secretVersion: 1,
    environment: environment === "test" ? Environment.TEST : Environment.LIVE,
    scopes: [...scopes],
    labels: { ...labels },
  });
}
