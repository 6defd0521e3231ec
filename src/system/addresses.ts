import { isIP } from "node:net";

/** Where a server listens by default, and where its clients look for it. */
export const DEFAULT_ADDRESS = "127.0.0.1:4640";
export const DEFAULT_URL = `http://${DEFAULT_ADDRESS}`;

/** Parses `host:port`, such as `127.0.0.1:4640` or `[::1]:4640`; undefined for all other texts. */
export function parseListenAddress(text: string): { readonly host: string; readonly port: number } | undefined {
  const [, v6, name, digits] = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text) ?? [];
  const host = v6 ?? name;
  const port = Number(digits);
  return host === undefined || port > 65_535 ? undefined : { host, port };
}

/** Whether a host, in brackets or not, is this machine by its name or address alone, without DNS. */
export function isLoopback(host: string): boolean {
  return host === "localhost" || /^(\[::1\]|::1)$/.test(host) || (isIP(host) === 4 && host.startsWith("127."));
}

/** The IPv4 address in an IPv4-mapped IPv6 address, as a dual-stack socket gives it. All other texts stay as they are. */
export function withoutIpv4Prefix(address: string): string {
  return address.replace(/^::ffff:(?=\d+\.)/i, "");
}

/**
 * The address for a question: IPv4-mapped addresses as IPv4, IPv6 without its zone, both without a port
 * (`192.0.2.1:443`, `[2001:db8::1]:443`). Undefined for a text that is not an address, such as a whole
 * `x-forwarded-for`; keys that are bound to addresses are then denied.
 */
export function clientIpOf(text: string | undefined): string | undefined {
  if (text === undefined) return undefined;
  const withoutPort = text.replace(/^\[(.*)\](:\d{1,5})?$/, "$1").replace(/^(\d+\.\d+\.\d+\.\d+):\d{1,5}$/, "$1");
  const address = withoutIpv4Prefix(withoutPort).replace(/%.*$/, "");
  return isIP(address) === 0 ? undefined : address;
}
