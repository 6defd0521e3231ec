import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { ServiceImpl } from "@connectrpc/connect";
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
import type { Verdict as VerdictName } from "../verify/decide.ts";
import type {
  FoundSecret,
  Freshness as FreshnessName,
  Verification,
  Verifier,
  VerifyCommand,
} from "../verify/verifier.ts";
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
  valid: Verdict.VALID,
};

/** `claviger.v1.KeyVerifier`. */
export function createKeyVerifier(verifier: Verifier): ServiceImpl<typeof KeyVerifier> {
  return {
    async verify(request) {
      return toResponse(await verifier.verify(toCommand(request)));
    },
    async batchVerify(request) {
      const verifications = await verifier.verifyAll(request.requests.map(toCommand));
      return { responses: verifications.map(toResponse) };
    },
  };
}

function toCommand({ secret, requiredScopes, clientIp }: VerifyRequest): VerifyCommand {
  return { secret, requiredScopes, clientIp };
}

const FRESHNESS: Readonly<Record<FreshnessName, Freshness>> = {
  authoritative: Freshness.AUTHORITATIVE,
  leased: Freshness.LEASED,
  revocation_set: Freshness.REVOCATION_SET,
};

function toResponse({ decision, found, freshness, revision }: Verification): VerifyResponse {
  return create(VerifyResponseSchema, {
    verdict: VERDICTS[decision.verdict],
    missingScopes: [...decision.missingScopes],
    freshness: FRESHNESS[freshness],
    revision: BigInt(revision),
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
