import { expect, it } from "vitest";
import { isLoopback, parseListenAddress, withoutIpv4Prefix } from "./addresses.ts";

it.each([
  ["127.0.0.1:4640", { host: "127.0.0.1", port: 4640 }],
  ["[::1]:0", { host: "::1", port: 0 }],
  ["localhost:65535", { host: "localhost", port: 65_535 }],
])("%s is an address to listen on", (text, address) => {
  expect(parseListenAddress(text)).toEqual(address);
});

it.each(["", "4640", "host", "host:", ":4640", "::1:4640", "host:65536", "host:123456", "[::1]", "host:-1"])(
  "%j is no address to listen on",
  (text) => {
    expect(parseListenAddress(text)).toBeUndefined();
  },
);

it.each(["localhost", "127.0.0.1", "127.9.9.9", "::1", "[::1]"])("%s is this machine", (host) => {
  expect(isLoopback(host)).toBe(true);
});

it.each(["", "0.0.0.0", "::", "127.example.com", "127.0.0.1.example.com", "10.0.0.1", "::2", "localhost.example.com"])(
  "%j is not known to be this machine",
  (host) => {
    expect(isLoopback(host)).toBe(false);
  },
);

it.each([
  ["::ffff:192.0.2.1", "192.0.2.1"],
  ["::FFFF:192.0.2.1", "192.0.2.1"],
  ["::ffff:c000:201", "::ffff:c000:201"],
  ["2001:db8::1", "2001:db8::1"],
  ["", ""],
])("the address of the socket %j is shown as %j", (address, shown) => {
  expect(withoutIpv4Prefix(address)).toBe(shown);
});
