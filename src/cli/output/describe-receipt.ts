import { timestampDate } from "@bufbuild/protobuf/wkt";
import type { RevocationReceipt } from "#gen/claviger/v1/key_pb.js";

/** When a change was effective everywhere, for people; empty for a change that did not wait. */
export function describeReceipt(receipt: RevocationReceipt | undefined): string {
  if (receipt === undefined) return "";
  const { revision, effectiveTime, confirmedVerifierCount, expiredVerifierCount } = receipt;
  const when = effectiveTime === undefined ? "" : ` since ${timestampDate(effectiveTime).toISOString()}`;
  const noun = confirmedVerifierCount === 1 ? "verifier" : "verifiers";
  const who = `${confirmedVerifierCount} ${noun} confirmed, ${expiredVerifierCount} waited out`;
  return `effective everywhere${when} (revision ${revision}, ${who})`;
}
