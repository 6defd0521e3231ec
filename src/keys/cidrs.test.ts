import { isIP } from "node:net";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { allowsAtMost, isAddressAllowed, isCidr } from "./cidrs.ts";

interface V4Prefix {
  readonly value: number;
  readonly bits: number;
}

const octets = (value: number) => [24, 16, 8, 0].map((shift) => (value >>> shift) & 255);
const v4 = (value: number) => octets(value).join(".");
const mapped = (value: number) => `::ffff:${v4(value)}`;
const v6 = (value: bigint) =>
  Array.from({ length: 8 }, (_, group) => ((value >> BigInt(112 - 16 * group)) & 0xffffn).toString(16)).join(":");
const cidr = ({ value, bits }: V4Prefix) => `${v4(value)}/${bits}`;

const inV4 = (address: number, { value, bits }: V4Prefix) =>
  bits === 0 || address >>> (32 - bits) === value >>> (32 - bits);

const addresses = fc.nat({ max: 0xffffffff });
const prefixes = fc.record({ value: addresses, bits: fc.integer({ min: 0, max: 32 }) });
// Most pairs of random addresses have nothing in common: these differ in a few low bits.
const near = fc
  .tuple(prefixes, fc.nat({ max: 0xff }), fc.nat({ max: 31 }))
  .map(([prefix, noise, shift]) => ({ prefix, address: (prefix.value ^ (noise << shift)) >>> 0 }));

describe("an address", () => {
  it("is allowed in exactly the IPv4 prefixes whose bits it shares, IPv4-mapped or not, on either side", () => {
    fc.assert(
      fc.property(near, ({ prefix, address }) => {
        const expected = inV4(address, prefix);
        const mappedCidr = `${mapped(prefix.value)}/${96 + prefix.bits}`;
        for (const shown of [v4(address), mapped(address)]) {
          expect(isAddressAllowed(shown, [cidr(prefix)])).toBe(expected);
          expect(isAddressAllowed(shown, [mappedCidr])).toBe(expected);
        }
      }),
      { numRuns: 500 },
    );
  });

  it("is allowed in exactly the IPv6 prefixes whose bits it shares", () => {
    const wide = fc.bigInt({ min: 0n, max: (1n << 128n) - 1n }).filter((value) => value >> 48n !== 0n);
    const bitCounts = fc.integer({ min: 0, max: 128 });
    fc.assert(
      fc.property(wide, bitCounts, fc.nat({ max: 127 }), fc.boolean(), (value, bits, flipped, flip) => {
        const address = flip ? value ^ (1n << BigInt(127 - flipped)) : value;
        fc.pre(address >> 48n !== 0n);
        expect(isAddressAllowed(v6(address), [`${v6(value)}/${bits}`])).toBe(!flip || flipped >= bits);
      }),
      { numRuns: 500 },
    );
  });

  it("is allowed if any of the prefixes has it, and by none if there is none", () => {
    fc.assert(
      fc.property(addresses, fc.array(prefixes, { maxLength: 5 }), (address, list) => {
        const expected = list.some((prefix) => inV4(address, prefix));
        expect(isAddressAllowed(v4(address), list.map(cidr))).toBe(expected);
      }),
    );
  });

  it("of one family is never in a prefix of the other", () => {
    expect(isAddressAllowed("10.0.0.1", ["::/0"])).toBe(false);
    expect(isAddressAllowed("::ffff:10.0.0.1", ["::/0"])).toBe(false);
    expect(isAddressAllowed("2001:db8::1", ["0.0.0.0/0"])).toBe(false);
    expect(isAddressAllowed("::a00:1", ["0.0.0.0/0"])).toBe(false);
  });

  it("is allowed however it is written", () => {
    expect(isAddressAllowed("2001:DB8:0:0::00FF", ["2001:db8::/64"])).toBe(true);
    expect(isAddressAllowed("::ffff:a00:1", ["10.0.0.0/8"])).toBe(true);
    expect(isAddressAllowed("10.1.2.3", ["10.9.9.9/8"])).toBe(true);
  });

  it("that is none is not allowed", () => {
    for (const text of [
      "",
      "localhost",
      "10.0.0",
      "010.0.0.1",
      "0x0a000001",
      "10.0.0.0/8",
      "10.0.0.256",
      "[::1]",
      " 10.0.0.1",
    ]) {
      expect(isAddressAllowed(text, ["0.0.0.0/0", "::/0"])).toBe(false);
    }
  });
});

describe("a text that may be a prefix", () => {
  const parts = fc.constantFrom(
    ":",
    "::",
    ".",
    "/",
    "%",
    "0",
    "1",
    "ffff",
    "010",
    "0x1",
    "10",
    "255",
    "256",
    "a",
    "g",
    " ",
  );
  const right = fc.oneof(
    fc.tuple(fc.ipV4(), fc.integer({ min: 0, max: 33 })).map(([ip, bits]) => `${ip}/${bits}`),
    fc.tuple(fc.ipV6(), fc.integer({ min: 0, max: 129 })).map(([ip, bits]) => `${ip}/${bits}`),
    fc.constantFrom("::1/128", "::a10.0.0.1/128", "::ffff:0:0/96", "::10.0.0.1/128", "::ffff:1.2.3.4/128", "1::/0"),
  );
  const broken = fc
    .tuple(right, fc.array(fc.tuple(fc.nat(), fc.nat({ max: 2 }), parts), { maxLength: 3 }))
    .map(([text, edits]) =>
      edits.reduce((now, [at, cut, put]) => {
        const place = at % (now.length + 1);
        return now.slice(0, place) + put + now.slice(place + cut);
      }, text),
    );
  const texts = fc.oneof(
    { weight: 6, arbitrary: broken },
    { weight: 1, arbitrary: fc.string() },
    { weight: 2, arbitrary: fc.array(parts, { maxLength: 9 }).map((some) => some.join("")) },
  );

  it("allows its own first address if it is one, and nothing at all if it is none; it never throws", () => {
    let prefixes = 0;
    fc.assert(
      fc.property(texts, fc.oneof(fc.ipV4(), fc.ipV6(), texts), (text, address) => {
        const own = text.slice(0, text.lastIndexOf("/"));
        if (isCidr(text)) {
          prefixes += 1;
          // A prefix wider than all IPv4-mapped addresses is one of IPv6, and those count as IPv4.
          const bits = Number(text.slice(own.length + 1));
          const isWider = own.includes(":") && bits < 96 && isAddressAllowed(own, ["0.0.0.0/0"]);
          expect(isAddressAllowed(own, [text])).toBe(!isWider);
        } else {
          for (const shown of [address, own, "0.0.0.0", "::"]) expect(isAddressAllowed(shown, [text])).toBe(false);
          expect(allowsAtMost([text], ["10.0.0.0/8"])).toBe(true);
          expect(allowsAtMost(["10.0.0.0/8"], [text])).toBe(false);
        }
        isAddressAllowed(address, [text]);
      }),
      { numRuns: 3000 },
    );
    expect(prefixes).toBeGreaterThan(300);
  });

  it("holds an address exactly if Node knows it for one", () => {
    const known = (text: string) => isAddressAllowed(text, ["0.0.0.0/0", "::/0"]);
    let addresses = 0;
    fc.assert(
      fc.property(texts, (text) => {
        const address = text.includes("/") ? text.slice(0, text.lastIndexOf("/")) : text;
        fc.pre(!address.includes("%"));
        if (isIP(address) !== 0) addresses += 1;
        expect([address, known(address)]).toEqual([address, isIP(address) !== 0]);
      }),
      { numRuns: 4000 },
    );
    expect(addresses).toBeGreaterThan(100);
  });

  it.each(["::1:/128", "::ffff:0:0:/96", "0:0:0:0:0:0:0:1:/128", "1::/000", "10.0.0.0/08", "10.0.0.0", "fe80::%1/64"])(
    "is none if it is %s",
    (text) => expect(isCidr(text)).toBe(false),
  );

  it("may be missing from a row that other means have written, and then allows nothing", () => {
    const lists = [[null], [undefined], [7]] as unknown as readonly (readonly string[])[];
    for (const list of lists) {
      expect(isAddressAllowed("10.0.0.1", list)).toBe(false);
      expect(allowsAtMost(list, ["10.0.0.0/8"])).toBe(true);
    }
  });
});

describe("an IPv4 address inside an IPv6 one", () => {
  it("counts as IPv4 if it is mapped, and not if it is IPv4-compatible", () => {
    expect(isAddressAllowed("::ffff:10.0.0.1", ["10.0.0.0/8"])).toBe(true);
    expect(isAddressAllowed("::10.0.0.1", ["10.0.0.0/8"])).toBe(false);
    expect(isAddressAllowed("10.0.0.1", ["::10.0.0.0/104"])).toBe(false);
    expect(isAddressAllowed("::10.0.0.1", ["::10.0.0.0/104"])).toBe(true);
    expect(isAddressAllowed("64:ff9b::10.0.0.1", ["64:ff9b::a00:0/104"])).toBe(true);
  });

  it("may carry a zone, as the address of a link-local peer does; IPv4 may not", () => {
    expect(isAddressAllowed("fe80::1%eth0", ["fe80::/10"])).toBe(true);
    expect(isAddressAllowed("10.0.0.1%eth0", ["10.0.0.0/8"])).toBe(false);
  });
});

describe("a list of prefixes allows at most another", () => {
  // A world of 16 addresses, in which every prefix can be tried out.
  const base = 0x0a000000;
  const world = Array.from({ length: 16 }, (_, low) => base + low);
  const small = fc.record({
    value: fc.integer({ min: base, max: base + 15 }),
    bits: fc.integer({ min: 28, max: 32 }),
  });

  it("exactly if each of its prefixes lies in one of the other's, as trying every address shows", () => {
    fc.assert(
      fc.property(fc.array(small, { minLength: 1, maxLength: 3 }), small, (inner, outer) => {
        const expected = world.every((address) => !inner.some((p) => inV4(address, p)) || inV4(address, outer));
        expect(allowsAtMost(inner.map(cidr), [cidr(outer)])).toBe(expected);
      }),
      { numRuns: 500 },
    );
  });

  it("only if no address is allowed by it and not by the other", () => {
    const lists = fc.array(small, { maxLength: 3 });
    const allowed = (list: readonly V4Prefix[], address: number) =>
      list.length === 0 || list.some((prefix) => inV4(address, prefix));
    fc.assert(
      fc.property(lists, lists, (inner, outer) => {
        fc.pre(allowsAtMost(inner.map(cidr), outer.map(cidr)));
        for (const address of world) {
          if (allowed(inner, address)) expect(allowed(outer, address)).toBe(true);
        }
      }),
      { numRuns: 1000 },
    );
  });

  it("with an empty list for everywhere", () => {
    expect(allowsAtMost([], [])).toBe(true);
    expect(allowsAtMost(["10.0.0.0/8"], [])).toBe(true);
    expect(allowsAtMost([], ["0.0.0.0/0", "::/0"])).toBe(false);
  });

  it("with IPv4-mapped IPv6 as IPv4", () => {
    expect(allowsAtMost(["::ffff:10.1.0.0/112"], ["10.0.0.0/8"])).toBe(true);
    expect(allowsAtMost(["10.1.0.0/16"], ["::ffff:10.0.0.0/104"])).toBe(true);
    expect(allowsAtMost(["10.0.0.0/8"], ["::/0"])).toBe(false);
  });
});
