import { fromBinary } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { Freshness, type VerifyResponse, VerifyResponseSchema } from "#gen/claviger/v1/key_verifier_pb.js";
import type { Metered } from "../../usage/metered-verifier.ts";
import type { Freshness as FreshnessName } from "../../verify/verifier.ts";
import { VERDICTS } from "../../wire/verdicts.ts";

export const FRESHNESS: Readonly<Record<FreshnessName, Freshness>> = {
  authoritative: Freshness.AUTHORITATIVE,
  leased: Freshness.LEASED,
  revocation_set: Freshness.REVOCATION_SET,
};

/** The part of an answer about a key and a secret, decoded from `KnownSecret.about`. */
export function readAbout(about: string): VerifyResponse {
  return fromBinary(VerifyResponseSchema, Buffer.from(about, "latin1"));
}

/** A verification as it is answered. */
export function toResponse({ decision, found, freshness, revision, retryAfterMs }: Metered): VerifyResponse {
  const response = readAbout(found?.about ?? "");
  response.verdict = VERDICTS[decision.verdict];
  response.missingScopes = [...decision.missingScopes];
  response.freshness = FRESHNESS[freshness];
  response.revision = BigInt(revision);
  if (retryAfterMs !== undefined) response.retryAfter = durationFromMs(retryAfterMs);
  return response;
}
