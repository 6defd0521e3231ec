import ipaddr from "ipaddr.js";

type Address = ipaddr.IPv4 | ipaddr.IPv6;

/** Bits of `::ffff:0:0/96`, before the IPv4 part of an IPv4-mapped IPv6 address. */
const MAPPED_BITS = 96;

interface Prefix {
  readonly address: Address;
  readonly bits: number;
}

/** Whether the text is an IPv4 or IPv6 prefix that verification can parse. */
export function isCidr(text: string): boolean {
  return parsePrefix(text) !== undefined;
}

/**
 * Whether `address` lies in one of the prefixes. IPv4-mapped IPv6 counts as IPv4; no other IPv6 does. A zone (`%eth0`)
 * is ignored. False for a text that is not an address. An invalid prefix allows nothing. Never throws.
 */
export function isAddressAllowed(address: string, cidrs: readonly string[]): boolean {
  const parsed = parseAddress(address);
  if (parsed === undefined) return false;
  const narrow = prefixOf(parsed, bitsOf(parsed));
  return cidrs.some((cidr) => isWithin(narrow, parsePrefix(cidr)));
}

/**
 * Whether `outer` allows every address that `inner` allows, prefix by prefix. An empty list allows all addresses; an
 * invalid prefix allows nothing. Never throws.
 */
export function allowsAtMost(inner: readonly string[], outer: readonly string[]): boolean {
  if (outer.length === 0) return true;
  if (inner.length === 0) return false;
  const outerPrefixes = outer.map(parsePrefix);
  return inner
    .map(parsePrefix)
    .every((prefix) => prefix === undefined || outerPrefixes.some((wide) => isWithin(prefix, wide)));
}

/** Undefined for an invalid prefix. A row that was written by other means may hold anything, even null. */
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
 * Accepts the same texts as Node's `isIP`, which a test checks. ipaddr.js (2.5) alone also accepts octal IPv4 and
 * groups of five digits. An IPv4 tail is converted to two groups, because ipaddr.js reads the IPv4-compatible
 * `::10.0.0.1` as IPv4.
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

/** Matches texts that cannot be groups of up to four hexadecimal digits. */
const NO_GROUPS = /[^0-9a-f:]|[0-9a-f]{5}/i;

/** Converts `10.0.0.1` to `a00:1`. Returns any other text unchanged. */
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
