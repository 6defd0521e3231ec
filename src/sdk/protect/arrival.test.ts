import { expect, test } from "vitest";
import { clientIpOf } from "./arrival.ts";

test.each([
  ["192.0.2.1", "192.0.2.1"],
  ["::ffff:192.0.2.1", "192.0.2.1"],
  ["2001:db8::1", "2001:db8::1"],
  ["fe80::1%eth0", "fe80::1"],
  ["192.0.2.1:443", "192.0.2.1"],
  ["[2001:db8::1]:443", "2001:db8::1"],
  ["[2001:db8::1]", "2001:db8::1"],
  ["[::ffff:192.0.2.1]:1", "192.0.2.1"],
])("%s is the address %s", (text, address) => {
  expect(clientIpOf(text)).toBe(address);
});

test.each([
  [undefined],
  [""],
  ["unknown"],
  ["192.0.2.1:"],
  ["192.0.2.1:x"],
  ["[192.0.2.1"],
  ["192.0.2.1, 192.0.2.2"],
  ["010.0.0.1"],
])("%s is not an address, and none is used", (text) => {
  expect(clientIpOf(text)).toBeUndefined();
});
