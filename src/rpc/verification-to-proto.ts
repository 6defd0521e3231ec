import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs, timestampFromDate } from "@bufbuild/protobuf/wkt";
import {
  Freshness,
  Verdict,
  type VerifiedKeySchema,
  type VerifyResponse,
  VerifyResponseSchema,
} from "#gen/claviger/v1/key_verifier_pb.js";
import type { FoundSecret } from "../keys/found-secret.ts";
import { endOfSecret, isLive } from "../keys/state.ts";
import type { Verdict as VerdictName } from "../keys/verdict.ts";
import type { Metered } from "../usage/metered-verifier.ts";
import type { Freshness as FreshnessName } from "../verify/verifier.ts";
import { identityToProto } from "./to-proto.ts";

export const VERDICTS: Readonly<Record<VerdictName, Verdict>> = {
  malformed: Verdict.MALFORMED,
  unknown: Verdict.UNKNOWN,
  revoked: Verdict.REVOKED,
  disabled: Verdict.DISABLED,
  retired: Verdict.RETIRED,
  expired: Verdict.EXPIRED,
  address_denied: Verdict.ADDRESS_DENIED,
  scope_missing: Verdict.SCOPE_MISSING,
  rate_limited: Verdict.RATE_LIMITED,
  quota_exhausted: Verdict.QUOTA_EXHAUSTED,
  valid: Verdict.VALID,
};

export const FRESHNESS: Readonly<Record<FreshnessName, Freshness>> = {
  authoritative: Freshness.AUTHORITATIVE,
  leased: Freshness.LEASED,
  revocation_set: Freshness.REVOCATION_SET,
};

/** A verification as it is answered. */
export function toResponse({ decision, found, freshness, revision, retryAfterMs }: Metered): VerifyResponse {
  return create(VerifyResponseSchema, {
    verdict: VERDICTS[decision.verdict],
    missingScopes: [...decision.missingScopes],
    freshness: FRESHNESS[freshness],
    revision: BigInt(revision),
    ...(retryAfterMs === undefined ? {} : { retryAfter: durationFromMs(retryAfterMs) }),
    ...(found === undefined ? {} : aboutKey(found)),
  });
}

/** What the answer says of the key and the secret. */
export function aboutKey({ key, secret, now }: FoundSecret): MessageInitShape<typeof VerifyResponseSchema> {
  const retiring = secret.retireTime !== null && isLive(secret, now);
  return {
    key: verifiedKey({ key, secret }),
    secretExpireTime: timestampFromDate(endOfSecret(secret)),
    ...(retiring && secret.retireTime !== null ? { retireTime: timestampFromDate(secret.retireTime) } : {}),
  };
}

function verifiedKey({ key, secret }: Pick<FoundSecret, "key" | "secret">): MessageInitShape<typeof VerifiedKeySchema> {
  return {
    ...identityToProto(key),
    secretVersion: secret.version,
  };
}
