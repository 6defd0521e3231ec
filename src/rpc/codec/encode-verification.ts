import { fromBinary, toBinary } from "@bufbuild/protobuf";
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

/** The part of an answer about a key and a secret, decoded from `CachedSecret.about`. */
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

// Field numbers and wire types of `VerifyResponse`: a varint each.
const VERDICT_TAG = 0x08;
const FRESHNESS_TAG = 0x38;
const REVISION_TAG = 0x40;
/** A tag and a byte, twice. */
const SHORT_BYTES = 4;

/**
 * A verification as the bytes of `VerifyResponse`, after `prefix` bytes for the caller to fill. The key's part was
 * encoded when it was read; the rest of a common answer is three varints. Figures:
 * docs/decisions/0007-direct-path-past-connect.md.
 */
export function encodeVerification(metered: Metered, prefix: number): Buffer {
  const { decision, found, freshness, revision, retryAfterMs } = metered;
  if (found === undefined || decision.missingScopes.length > 0 || retryAfterMs !== undefined) {
    const bytes = toBinary(VerifyResponseSchema, toResponse(metered));
    const whole = Buffer.allocUnsafe(prefix + bytes.length);
    whole.set(bytes, prefix);
    return whole;
  }
  const { about } = found;
  const revisionBytes = revision > 0 ? 1 + varintBytes(revision) : 0;
  const whole = Buffer.allocUnsafe(prefix + SHORT_BYTES + revisionBytes + about.length);
  let at = prefix;
  whole[at++] = VERDICT_TAG;
  whole[at++] = VERDICTS[decision.verdict];
  whole[at++] = FRESHNESS_TAG;
  whole[at++] = FRESHNESS[freshness];
  if (revision > 0) {
    whole[at++] = REVISION_TAG;
    at = writeVarint(whole, at, revision);
  }
  whole.write(about, at, "latin1");
  return whole;
}

function varintBytes(value: number): number {
  let bytes = 1;
  for (let rest = value; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes += 1;
  return bytes;
}

/** Writes a whole number up to 2^53, and returns the position after it. */
function writeVarint(bytes: Uint8Array, from: number, value: number): number {
  let [at, rest] = [from, value];
  while (rest >= 0x80) {
    bytes[at++] = (rest % 0x80) | 0x80;
    rest = Math.floor(rest / 0x80);
  }
  bytes[at++] = rest;
  return at;
}
