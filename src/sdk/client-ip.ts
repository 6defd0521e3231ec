import { isIP } from "node:net";

/**
 * The address as it is asked about: IPv4 also when it came IPv4-mapped, IPv6 without its zone. Undefined for what is no
 * address, such as a whole `x-forwarded-for`: keys that are bound to addresses are then denied.
 */
export function clientIpOf(text: string | undefined): string | undefined {
  const address = text?.replace(/^::ffff:(?=\d+\.)/i, "").replace(/%.*$/, "");
  return address !== undefined && isIP(address) !== 0 ? address : undefined;
}
