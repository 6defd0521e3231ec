import { isIP } from "node:net";

/**
 * Reads the address that a question names: IPv4 also when it came IPv4-mapped, IPv6 without its zone, either without a
 * port (`192.0.2.1:443`, `[2001:db8::1]:443`). Undefined for a text that is no address, such as a whole
 * `x-forwarded-for`: keys that are bound to addresses are then denied.
 */
export function clientIpOf(text: string | undefined): string | undefined {
  const address = text
    ?.replace(/^\[(.*)\](:\d{1,5})?$/, "$1")
    .replace(/^(\d+\.\d+\.\d+\.\d+):\d{1,5}$/, "$1")
    .replace(/^::ffff:(?=\d+\.)/i, "")
    .replace(/%.*$/, "");
  return address !== undefined && isIP(address) !== 0 ? address : undefined;
}
