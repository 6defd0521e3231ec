import { clientIpOf } from "../system/addresses.ts";

/**
 * The address of a gateway's client; empty if it is not known. With trusted hops it is the n-th address of
 * `x-forwarded-for` from the right: each trusted proxy appends one, and a client can write only what stands left of
 * those. Without them it is `peer`.
 */
export function clientAddress(
  trustedHops: number | undefined,
  { forwardedFor, peer }: { readonly forwardedFor: readonly string[]; readonly peer: string | undefined },
): string {
  if (trustedHops === undefined) return clientIpOf(peer) ?? "";
  const hops = forwardedFor.flatMap((value) => value.split(","));
  return clientIpOf(hops.at(-trustedHops)?.trim()) ?? "";
}
