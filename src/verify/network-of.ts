import ipaddr from "ipaddr.js";

/**
 * The network by which clients get fair shares: an IPv4 address, or the first 64 bits of an IPv6 address, since each
 * site has at least as many addresses (RFC 6177). An IPv4-mapped address counts as IPv4. Returns any other text
 * unchanged.
 */
export function networkOf(address: string): string {
  if (!address.includes(":") || !ipaddr.IPv6.isValid(address)) return address;
  const parsed = ipaddr.IPv6.parse(address);
  if (parsed.isIPv4MappedAddress()) return parsed.toIPv4Address().toString();
  const bits = parsed.parts.slice(0, 4).map((part) => part.toString(16));
  return `${bits.join(":")}::/64`;
}
