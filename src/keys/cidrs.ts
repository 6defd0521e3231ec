import ipaddr from "ipaddr.js";

type Address = ReturnType<typeof ipaddr.process>;

/** Bits of `::ffff:0:0/96`, before the IPv4 part of an IPv4-mapped IPv6 address. */
const MAPPED_BITS = 96;

interface Prefix {
  readonly address: Address;
  readonly bits: number;
}

/** Whether `address` lies in one of the prefixes; IPv4-mapped IPv6 counts as IPv4. False for what is no address. */
export function isAddressAllowed(address: string, cidrs: readonly string[]): boolean {
  // Not `isValid`, which takes `10.1` and octal `010.0.0.1` for addresses.
  if (!ipaddr.IPv4.isValidFourPartDecimal(address) && !ipaddr.IPv6.isValid(address)) return false;
  const parsed = ipaddr.process(address);
  return cidrs.some((cidr) => contains(parsePrefix(cidr), { address: parsed, bits: parsed.toByteArray().length * 8 }));
}

/** Whether every address that `inner` allows is allowed by `outer` too, prefix by prefix. An empty list allows all. */
export function allowsAtMost(inner: readonly string[], outer: readonly string[]): boolean {
  if (outer.length === 0) return true;
  if (inner.length === 0) return false;
  const outerPrefixes = outer.map(parsePrefix);
  return inner.map(parsePrefix).every((prefix) => outerPrefixes.some((wide) => contains(wide, prefix)));
}

function parsePrefix(cidr: string): Prefix {
  const [address, bits] = ipaddr.parseCIDR(cidr);
  if (address instanceof ipaddr.IPv6 && address.isIPv4MappedAddress() && bits >= MAPPED_BITS) {
    return { address: address.toIPv4Address(), bits: bits - MAPPED_BITS };
  }
  return { address, bits };
}

function contains(wide: Prefix, narrow: Prefix): boolean {
  if (wide.bits > narrow.bits) return false;
  if (wide.address instanceof ipaddr.IPv4) {
    return narrow.address instanceof ipaddr.IPv4 && narrow.address.match(wide.address, wide.bits);
  }
  return narrow.address instanceof ipaddr.IPv6 && narrow.address.match(wide.address, wide.bits);
}
