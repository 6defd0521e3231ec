import { create, toBinary } from "@bufbuild/protobuf";
import { VerifyResponseSchema } from "#gen/claviger/v1/key_verifier_pb.js";
import type { FoundSecret } from "../keys/found-secret.ts";
import type { Metered } from "../usage/metered-verifier.ts";
import { aboutKey, FRESHNESS, toResponse, VERDICTS } from "./verification-to-proto.ts";

// Field numbers and wire types of `VerifyResponse`: a varint each.
const VERDICT_TAG = 0x08;
const FRESHNESS_TAG = 0x38;
const REVISION_TAG = 0x40;
/** A tag and a byte, twice; a tag and the longest varint. */
const LONGEST_REST = 2 + 2 + 1 + 10;

/**
 * A verification as the bytes of `VerifyResponse`. What it says of a key is encoded once per cached secret: encoding it
 * anew takes 10 µs for a key with three labels on a busy machine, the whole answer with a copy of it 0.6. The rest of a
 * common answer is three varints; anything else goes the long way.
 */
export class VerificationEncoder {
  readonly #aboutKeys = new WeakMap<FoundSecret, Uint8Array>();

  /** The bytes, after `headroom` bytes for the caller to fill. */
  encode(metered: Metered, headroom: number): Buffer {
    const { decision, found, freshness, revision, retryAfterMs } = metered;
    if (found === undefined || decision.missingScopes.length > 0 || retryAfterMs !== undefined) {
      const bytes = toBinary(VerifyResponseSchema, toResponse(metered));
      const whole = Buffer.allocUnsafe(headroom + bytes.length);
      whole.set(bytes, headroom);
      return whole;
    }
    const about = this.#aboutKey(found);
    const whole = Buffer.allocUnsafe(headroom + LONGEST_REST + about.length);
    let at = headroom;
    whole[at++] = VERDICT_TAG;
    whole[at++] = VERDICTS[decision.verdict];
    whole[at++] = FRESHNESS_TAG;
    whole[at++] = FRESHNESS[freshness];
    if (revision > 0) {
      whole[at++] = REVISION_TAG;
      at = writeVarint(whole, at, revision);
    }
    whole.set(about, at);
    return whole.subarray(0, at + about.length);
  }

  #aboutKey(found: FoundSecret): Uint8Array {
    const known = this.#aboutKeys.get(found);
    if (known !== undefined) return known;
    const bytes = toBinary(VerifyResponseSchema, create(VerifyResponseSchema, aboutKey(found)));
    this.#aboutKeys.set(found, bytes);
    return bytes;
  }
}

/** Of a whole number up to 2^53; returns where it ends. */
function writeVarint(bytes: Uint8Array, from: number, value: number): number {
  let [at, rest] = [from, value];
  while (rest >= 0x80) {
    bytes[at++] = (rest % 0x80) | 0x80;
    rest = Math.floor(rest / 0x80);
  }
  bytes[at++] = rest;
  return at;
}
