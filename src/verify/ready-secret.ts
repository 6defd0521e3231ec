import type { FoundSecret } from "../keys/found-secret.ts";
import type { ReadySecret } from "../keys/known-secret.ts";
import { endOfSecret, isLive } from "../keys/state.ts";
import { countedHere } from "../system/clocks.ts";
import { standingOf } from "./decide.ts";

export interface ReadyOptions {
  /** ε: by how much the rates of two clocks may differ. */
  readonly clockRateError: number;
  /** What an answer tells of it, as it is sent. */
  readonly describe: (found: FoundSecret) => string;
}

/** Makes of what was read what verifications need. */
export function createReady({ clockRateError, describe }: ReadyOptions): (found: FoundSecret) => ReadySecret {
  return (found) => {
    const { key, secret, revision } = found;
    if (!hasReadableEnd(secret))
      throw new Error(`secret ${secret.version} of key ${key.id} has an end that is no date`);
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

/** A row that was changed by hand may have any. Nothing can be decided then, and only about this secret. */
function hasReadableEnd({ expireTime, retireTime }: FoundSecret["secret"]): boolean {
  return !Number.isNaN(expireTime.getTime()) && !Number.isNaN(retireTime?.getTime());
}

function msUntilEnd({ secret, now }: FoundSecret): number {
  return endOfSecret(secret).getTime() - now.getTime();
}
