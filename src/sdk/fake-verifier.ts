import { create } from "@bufbuild/protobuf";
import { Freshness, Verdict, VerifiedKeySchema } from "#gen/claviger/v1/key_verifier_pb.js";
import { missingScopes } from "../keys/scopes.ts";
import type { Question, Verification, Verifier } from "./verification.ts";

/** A key of a `FakeVerifier`. Default: valid, without scopes. */
export interface FakeKey {
  readonly verdict?: Verdict;
  readonly scopes?: readonly string[];
  readonly retireTime?: Date;
  readonly retryAfterMs?: number;
  /** If given, the key may be used from here only. */
  readonly address?: string;
}

/** A verifier for tests: knows what it is told, and remembers what it was asked. */
export class FakeVerifier implements Verifier {
  readonly keys = new Map<string, FakeKey>();
  readonly asked: { readonly secret: string; readonly question: Question; readonly way: "sync" | "server" }[] = [];
  /** Whether it has nothing in memory, so that `verifySync` says `"ask"`. */
  isForgetful = false;
  /** What every question ends with, if set. */
  failure: Error | undefined;
  readonly fresh = true;
  readonly appliedRevision = 1;

  /** The secret of a key, made up from `owner`. */
  addKey(owner: string, key: FakeKey = {}): string {
    const secret = `clv_test_${owner.padEnd(49, "0")}`;
    this.keys.set(secret, key);
    return secret;
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

  readonly tokenExpireTime = undefined;

  async ready(): Promise<void> {}

  async close(): Promise<void> {}

  #decide(secret: string, { scopes: wanted = [], clientIp }: Question): Verification {
    if (this.failure !== undefined) throw this.failure;
    const key = this.keys.get(secret);
    const missing = missingScopes(key?.scopes ?? [], wanted);
    return {
      verdict: verdictOf(key, { isMissing: missing.length > 0, clientIp }),
      key: key && verifiedKey(secret, key.scopes ?? []),
      secretExpireTime: key?.retireTime,
      retireTime: key?.retireTime,
      missingScopes: missing,
      retryAfterMs: key?.retryAfterMs,
      freshness: Freshness.LEASED,
      revision: 1,
    };
  }
}

function verdictOf(key: FakeKey | undefined, call: { isMissing: boolean; clientIp: string | undefined }): Verdict {
  if (key === undefined) return Verdict.UNKNOWN;
  if (key.verdict !== undefined) return key.verdict;
  if (key.address !== undefined && key.address !== call.clientIp) return Verdict.ADDRESS_DENIED;
  return call.isMissing ? Verdict.SCOPE_MISSING : Verdict.VALID;
}

function verifiedKey(secret: string, scopes: readonly string[]) {
  const owner = secret.replace(/^clv_test_|0+$/g, "");
  return create(VerifiedKeySchema, { id: `key_${owner}`, owner, scopes: [...scopes], secretVersion: 1 });
}
