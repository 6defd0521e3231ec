import ipaddr from "ipaddr.js";

type Address = ipaddr.IPv4 | ipaddr.IPv6;

/** Bits of `::ffff:0:0/96`, before the IPv4 part of an IPv4-mapped IPv6 address. */
const MAPPED_BITS = 96;

interface Prefix {
  readonly address: Address;
  readonly bits: number;
}

/** Whether the text is an IPv4 or IPv6 prefix that verification can read. */
export function isCidr(text: string): boolean {
  return parsePrefix(text) !== undefined;
}

/**
 * Whether `address` lies in one of the prefixes. IPv4-mapped IPv6 counts as IPv4, no other IPv6 does; a zone (`%eth0`) is
 * ignored. False for what is no address. A prefix that cannot be read allows nothing. Never throws.
 */
export function isAddressAllowed(address: string, cidrs: readonly string[]): boolean {
  const parsed = parseAddress(address);
  if (parsed === undefined) return false;
  const narrow = prefixOf(parsed, bitsOf(parsed));
  return cidrs.some((cidr) => isWithin(narrow, parsePrefix(cidr)));
}

/**
 * Whether every address that `inner` allows is allowed by `outer` too, prefix by prefix. An empty list allows all; a
 * prefix that cannot be read allows nothing. Never throws.
 */
export function allowsAtMost(inner: readonly string[], outer: readonly string[]): boolean {
  if (outer.length === 0) return true;
  if (inner.length === 0) return false;
  const outerPrefixes = outer.map(parsePrefix);
  return inner
    .map(parsePrefix)
    .every((prefix) => prefix === undefined || outerPrefixes.some((wide) => isWithin(prefix, wide)));
}

/** Undefined for what is no prefix. A row that was written by other means may hold anything, even null. */
function parsePrefix(cidr: string | null): Prefix | undefined {
  const [, text = "", length] = /^([0-9a-f:.]+)\/(0|[1-9]\d{0,2})$/i.exec(cidr ?? "") ?? [];
  const address = parseAddress(text);
  const bits = Number(length);
  if (address === undefined || bits > bitsOf(address)) return undefined;
  return prefixOf(address, bits);
}

function prefixOf(address: Address, bits: number): Prefix {
  if (address instanceof ipaddr.IPv6 && bits >= MAPPED_BITS && address.isIPv4MappedAddress()) {
    return { address: address.toIPv4Address(), bits: bits - MAPPED_BITS };
  }
  return { address, bits };
}

/**
 * Takes what Node's `isIP` takes (a test holds it to that): ipaddr.js (2.5) alone also takes octal IPv4 and groups of five
 * digits. It gets an IPv4 tail as two groups, since it reads the IPv4-compatible `::10.0.0.1` as IPv4.
 */
function parseAddress(text: string): Address | undefined {
  try {
    if (ipaddr.IPv4.isValidFourPartDecimal(text)) return ipaddr.IPv4.parse(text);
    const groups = text.replace(/%[0-9a-z.:-]+$/i, "").replace(/(?<=:)\d+\.\d+\.\d+\.\d+$/, groupsOf);
    return NO_GROUPS.test(groups) ? undefined : ipaddr.IPv6.parse(groups);
  } catch {
    return undefined;
  }
}

/** What groups of up to four hexadecimal digits do not have. */
const NO_GROUPS = /[^0-9a-f:]|[0-9a-f]{5}/i;

/** `10.0.0.1` as `a00:1`; what is no IPv4 address as it is. */
function groupsOf(dotted: string): string {
  if (!ipaddr.IPv4.isValidFourPartDecimal(dotted)) return dotted;
  const [a = 0, b = 0, c = 0, d = 0] = dotted.split(".").map(Number);
  return `${(a * 256 + b).toString(16)}:${(c * 256 + d).toString(16)}`;
}

function bitsOf(address: Address): number {
  return address instanceof ipaddr.IPv4 ? 32 : 128;
}

function isWithin(narrow: Prefix, wide: Prefix | undefined): boolean {
  if (wide === undefined || wide.bits > narrow.bits) return false;
  if (wide.address instanceof ipaddr.IPv4) {
    return narrow.address instanceof ipaddr.IPv4 && narrow.address.match(wide.address, wide.bits);
  }
  return narrow.address instanceof ipaddr.IPv6 && narrow.address.match(wide.address, wide.bits);
}
