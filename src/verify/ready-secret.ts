import type { FoundSecret, ReadySecret } from "../keys/known-secret.ts";
import { endOfSecret, isLive } from "../keys/lifecycle.ts";
import { countedHere } from "../system/clocks.ts";
import { standingOf } from "./decide.ts";

export interface ReadyOptions {
  /** ε: the maximum difference between the rates of two clocks. */
  readonly clockRateError: number;
  /** Encodes the description of the secret that answers contain. */
  readonly describe: (found: FoundSecret) => string;
}

/** Prepares a row that was read for verification. */
export function createReady({ clockRateError, describe }: ReadyOptions): (found: FoundSecret) => ReadySecret {
  return (found) => {
    const { key, secret, revision } = found;
    if (!hasReadableEnd(secret)) throw new Error(`secret ${secret.version} of key ${key.id} has an invalid end date`);
    return {
      keyId: key.id,
      owner: key.owner,
      version: secret.version,
      standing: standingOf(found),
      environment: key.environment,
      scopes: key.scopes,
      allowedCidrs: key.allowedCidrs,
      limits: key.limits,
      about: describe(found),
      revision,
      lastsMs: isLive(secret, found.now) ? countedHere(msUntilEnd(found), clockRateError) : Number.POSITIVE_INFINITY,
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
