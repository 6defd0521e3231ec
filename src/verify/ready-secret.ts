import type { FoundSecret } from "../keys/cached-secret.ts";
import { type CachedSecret, LONGEST_MS, type ReadStart } from "../keys/cached-secret.ts";
import { endOfSecret, isLive } from "../keys/lifecycle.ts";
import { countedHere } from "../system/clocks.ts";
import { standingOf } from "./decide.ts";
import { Interner } from "./interner.ts";

export interface ReadyOptions {
  /** ε: the maximum difference between the rates of two clocks. */
  readonly clockRateError: number;
  /** Encodes the description of the secret that answers contain. */
  readonly describe: (found: FoundSecret) => string;
}

/** Turns a row into what verifications judge. */
export type Ready = (found: FoundSecret, start: ReadStart) => CachedSecret;

export function createReady({ clockRateError, describe }: ReadyOptions): Ready {
  const lists = new Interner();
  return (found, { sinceMonotonicMs, sinceWallMs }) => {
    const { key, secret, revision } = found;
    if (!hasReadableEnd(secret)) throw new Error(`secret ${secret.version} of key ${key.id} has an invalid end date`);
    return {
      sinceMonotonicMs,
      sinceWallMs,
      lastsMs: isLive(secret, found.now)
        ? Math.min(LONGEST_MS, countedHere(msUntilEnd(found), clockRateError))
        : LONGEST_MS,
      standing: standingOf(found),
      environment: key.environment,
      scopes: lists.share(key.scopes),
      allowedCidrs: lists.share(key.allowedCidrs),
      counted: undefined,
      about: describe(found),
      revision,
      keyId: key.id,
      owner: key.owner,
      version: secret.version,
      limits: key.limits,
    };
  };
}

/**
 * False for a row that was changed by hand to an invalid date. Then this secret cannot be decided, and no other is
 * affected.
 */
function hasReadableEnd({ expireTime, retireTime }: FoundSecret["secret"]): boolean {
  return !Number.isNaN(expireTime.getTime()) && !Number.isNaN(retireTime?.getTime());
}

function msUntilEnd({ secret, now }: FoundSecret): number {
  return endOfSecret(secret).getTime() - now.getTime();
}
