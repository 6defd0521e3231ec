import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs, timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import {
  Freshness,
  type KeyVerifier,
  Verdict,
  type VerifiedKeySchema,
  type VerifyRequest,
  type VerifyResponse,
  VerifyResponseSchema,
} from "#gen/claviger/v1/key_verifier_pb.js";
import { endOfSecret, isLive } from "../keys/state.ts";
import type { Verdict as VerdictName } from "../keys/verdict.ts";
import type { Metered, MeteredCommand, MeteredVerifier } from "../usage/metered-verifier.ts";
import type { FoundSecret, Freshness as FreshnessName } from "../verify/verifier.ts";
import { callerKey } from "./call.ts";
import { identityToProto } from "./to-proto.ts";

const VERDICTS: Readonly<Record<VerdictName, Verdict>> = {
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

/** `claviger.v1.KeyVerifier`. */
export function createKeyVerifier(verifier: MeteredVerifier): ServiceImpl<typeof KeyVerifier> {
  return {
    async verify(request, context) {
      return toResponse(await verifier.verify(toCommand(request), callerIdOf(context)));
    },
    async batchVerify(request, context) {
      const verifications = await verifier.verifyAll(request.requests.map(toCommand), callerIdOf(context));
      return { responses: verifications.map(toResponse) };
    },
  };
}

function callerIdOf(context: HandlerContext): string {
  const caller = context.values.get(callerKey);
  return caller.kind === "service" ? caller.keyId : "";
}

function toCommand({ secret, requiredScopes, clientIp, method, cost = 1 }: VerifyRequest): MeteredCommand {
  return { secret, requiredScopes, clientIp, method, cost };
}

const FRESHNESS: Readonly<Record<FreshnessName, Freshness>> = {
  authoritative: Freshness.AUTHORITATIVE,
  leased: Freshness.LEASED,
  revocation_set: Freshness.REVOCATION_SET,
};

function toResponse({ decision, found, freshness, revision, retryAfterMs }: Metered): VerifyResponse {
  return create(VerifyResponseSchema, {
    verdict: VERDICTS[decision.verdict],
    missingScopes: [...decision.missingScopes],
    freshness: FRESHNESS[freshness],
    revision: BigInt(revision),
    ...(retryAfterMs === undefined ? {} : { retryAfter: durationFromMs(retryAfterMs) }),
    ...(found === undefined ? {} : aboutKey(found)),
  });
}

function aboutKey({ key, secret, now }: FoundSecret): MessageInitShape<typeof VerifyResponseSchema> {
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
