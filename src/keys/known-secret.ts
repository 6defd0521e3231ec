import type { Environment } from "./key.ts";
import type { Limits } from "./limits.ts";
import type { UsageDelta } from "./usage-delta.ts";
import type { Verdict } from "./verdict.ts";

/**
 * What verifications need of a secret that was read: ready to answer, and small, since a process keeps a hundred
 * thousand of them. True until the entry that it is kept in is over.
 */
export interface KnownSecret<About = string> {
  readonly keyId: string;
  readonly owner: string;
  readonly version: number;
  /** `valid`, or what speaks against the secret whatever is asked. */
  readonly standing: Verdict;
  readonly environment: Environment;
  readonly scopes: readonly string[];
  readonly allowedCidrs: readonly string[];
  readonly limits: Limits | null;
  /**
   * What an answer tells of the key and the secret, as it is given: on a server bytes, each as the character of that
   * code.
   */
  readonly about: About;
  /** Up to which changes are accounted for. */
  readonly revision: number;
  /** Where its last use was counted: the recorder's note, so that it need not be looked for. */
  counted: UsageDelta | undefined;
}

/** What is known of a secret, and for how many milliseconds from before it was read that can be so. */
export interface ReadySecret<About = string> extends Omit<KnownSecret<About>, "counted"> {
  readonly lastsMs: number;
}
