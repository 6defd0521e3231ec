import { crc32 } from "node:zlib";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Keyring } from "./keyring.ts";
import { deriveRootKeys, type RootKeys } from "./root-secret.ts";

const ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const PREFIX_LENGTH = "clv_live_".length;
const PUBLISHED_PATTERN = /\bclv_(live|test)_[0-9A-Za-z]{49}\b/;

const rootOf = (fill: number) => deriveRootKeys(Buffer.alloc(32, fill));
const ringOf = (...roots: readonly [RootKeys, ...RootKeys[]]) => new Keyring({ roots, brand: "clv" });
const [older, newer, foreign] = [rootOf(1), rootOf(2), rootOf(3)];
const ring = ringOf(newer, older);

const environments = fc.constantFrom("live", "test");
const chances = fc.uint8Array({ minLength: 24, maxLength: 24 });
const minted = fc
  .record({ environment: environments, chance: chances })
  .map(({ environment, chance }) => ring.mint(environment, () => chance, []).secret.reveal());
const positions = fc.nat({ max: PREFIX_LENGTH + 48 });
const characters = fc.oneof(fc.constantFrom(...ALPHABET), fc.string({ minLength: 1, maxLength: 1, unit: "binary" }));

/** What the published format says of the last six characters. */
function withChecksum(checked: string): string {
  return checked + base62(BigInt(crc32(checked)), 6);
}

function base62(value: bigint, length: number): string {
  let text = "";
  for (let rest = value; text.length < length; rest /= 62n) text = ALPHABET.charAt(Number(rest % 62n)) + text;
  return text;
}

function numberIn(body: string): bigint {
  return [...body].reduce((value, character) => value * 62n + BigInt(ALPHABET.indexOf(character)), 0n);
}

describe("a minted secret", () => {
  it("is recognised by the digest that is stored, and matches the published pattern", () => {
    fc.assert(
      fc.property(environments, chances, (environment, chance) => {
        const { secret, digest, rootId, hint } = ring.mint(environment, () => chance, []);
        const text = secret.reveal();
        expect(`say ${text}.`).toMatch(PUBLISHED_PATTERN);
        expect(ring.recognise(text)).toEqual({ kind: "genuine", digest });
        expect(digest).toHaveLength(32);
        expect(rootId).toBe(newer.id);
        expect(hint).toBe(`clv_${environment}_…${text.slice(-4)}`);
      }),
    );
  });

  it("is accepted with the prefix of RFC 8959, as the same secret", () => {
    fc.assert(
      fc.property(minted, (text) => {
        expect(ring.recognise(`secret-token:${text}`)).toEqual(ring.recognise(text));
        expect(ring.recognise(`secret-token:secret-token:${text}`)).toEqual({ kind: "malformed" });
      }),
    );
  });

  it("is malformed with any one character changed", () => {
    fc.assert(
      fc.property(minted, positions, characters, (text, at, character) => {
        fc.pre(text[at] !== character);
        expect(ring.recognise(text.slice(0, at) + character + text.slice(at + 1))).toEqual({ kind: "malformed" });
      }),
      { numRuns: 1000 },
    );
  });

  it("is malformed with two neighbours swapped", () => {
    fc.assert(
      fc.property(minted, fc.nat({ max: PREFIX_LENGTH + 47 }), (text, at) => {
        const [left, right] = [text.charAt(at), text.charAt(at + 1)];
        fc.pre(left !== right);
        expect(ring.recognise(text.slice(0, at) + right + left + text.slice(at + 2))).toEqual({ kind: "malformed" });
      }),
      { numRuns: 500 },
    );
  });

  it("is malformed with a character cut or added, wherever", () => {
    fc.assert(
      fc.property(minted, fc.nat({ max: PREFIX_LENGTH + 49 }), characters, (text, at, character) => {
        expect(ring.recognise(text.slice(0, at) + character + text.slice(at))).toEqual({ kind: "malformed" });
        expect(ring.recognise(text.slice(0, at))).toEqual({
          kind: at === text.length ? "genuine" : "malformed",
          ...(at === text.length ? { digest: expect.anything() } : {}),
        });
        if (at < text.length) {
          expect(ring.recognise(text.slice(0, at) + text.slice(at + 1))).toEqual({ kind: "malformed" });
        }
      }),
      { numRuns: 500 },
    );
  });
});

describe("a forged secret", () => {
  const bodies = fc.bigInt({ min: 0n, max: 2n ** 256n - 1n }).map((value) => base62(value, 43));

  it("is told from ours though its checksum is right", () => {
    fc.assert(
      fc.property(environments, bodies, (environment, body) => {
        expect(ring.recognise(withChecksum(`clv_${environment}_${body}`))).toEqual({ kind: "forged" });
      }),
    );
  });

  it("is told from ours when one character of ours was changed and the checksum made anew", () => {
    fc.assert(
      fc.property(minted, fc.nat({ max: 42 }), fc.constantFrom(...ALPHABET), (text, at, character) => {
        const body = text.slice(PREFIX_LENGTH, -6);
        fc.pre(body[at] !== character);
        const changed = body.slice(0, at) + character + body.slice(at + 1);
        fc.pre(numberIn(changed) < 2n ** 256n);
        expect(ring.recognise(withChecksum(text.slice(0, PREFIX_LENGTH) + changed))).toEqual({ kind: "forged" });
      }),
      { numRuns: 500 },
    );
  });

  it("is told from ours when only the environment was exchanged", () => {
    fc.assert(
      fc.property(chances, (chance) => {
        const live = ring.mint("live", () => chance, []).secret.reveal();
        expect(ring.recognise(withChecksum(live.slice(0, -6).replace("_live_", "_test_")))).toEqual({ kind: "forged" });
      }),
    );
  });

  it("is every secret of a root that we do not know", () => {
    fc.assert(
      fc.property(environments, chances, (environment, chance) => {
        const text = ringOf(foreign)
          .mint(environment, () => chance, [])
          .secret.reveal();
        expect(ring.recognise(text)).toEqual({ kind: "forged" });
      }),
    );
  });
});

describe("text that is no secret", () => {
  it("is malformed, whatever it is", () => {
    fc.assert(
      fc.property(fc.oneof(fc.string({ unit: "binary" }), fc.string({ minLength: 58, maxLength: 58 })), (text) => {
        expect(ring.recognise(text)).toEqual({ kind: "malformed" });
      }),
    );
    for (const text of ["", "clv_live_", "secret-token:", "CLV_LIVE_", `clv_live_${"é".repeat(49)}`]) {
      expect(ring.recognise(text)).toEqual({ kind: "malformed" });
    }
  });

  it("is malformed from the value 2^256 on, so that no secret has two spellings", () => {
    const room = 62n ** 43n - 2n ** 256n;
    fc.assert(
      fc.property(fc.bigInt({ min: 2n ** 256n, max: 62n ** 43n - 1n }), (value) => {
        expect(ring.recognise(withChecksum(`clv_live_${base62(value, 43)}`))).toEqual({ kind: "malformed" });
      }),
    );
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 22, maxLength: 22 }), (rest) => {
        const text = ring.mint("live", () => Buffer.from([0, 0, ...rest]), []).secret.reveal();
        const value = numberIn(text.slice(PREFIX_LENGTH, -6));
        expect(value).toBeLessThan(room);
        expect(ring.recognise(text).kind).toBe("genuine");
        const twin = withChecksum(`clv_live_${base62(value + 2n ** 256n, 43)}`);
        expect(ring.recognise(twin)).toEqual({ kind: "malformed" });
      }),
    );
    expect(ring.recognise(withChecksum(`clv_live_${base62(2n ** 256n - 1n, 43)}`))).toEqual({ kind: "forged" });
    expect(ring.recognise(withChecksum(`clv_live_${base62(2n ** 256n, 43)}`))).toEqual({ kind: "malformed" });
  });
});

describe("a change of root secrets", () => {
  const before = ringOf(older);
  const chance = () => Buffer.alloc(24, 7);

  it("keeps the secrets of the old root, with the digest that was stored", () => {
    const { secret, digest } = before.mint("live", chance, []);
    expect(ring.recognise(secret.reveal())).toEqual({ kind: "genuine", digest });
    expect(ringOf(newer).recognise(secret.reveal())).toEqual({ kind: "forged" });
  });

  it("mints under the newest root that every node knows", () => {
    expect(ring.mint("live", chance, []).rootId).toBe(newer.id);
    expect(ring.mint("live", chance, [ring.rootIds]).rootId).toBe(newer.id);
    expect(ring.mint("live", chance, [ring.rootIds, before.rootIds]).rootId).toBe(older.id);
    const { secret } = ring.mint("live", chance, [ring.rootIds, before.rootIds]);
    expect(before.recognise(secret.reveal()).kind).toBe("genuine");
  });

  it("offers the keys for page tokens newest first", () => {
    expect(ring.pageTokenKeys).toEqual([newer.pageTokenKey, older.pageTokenKey]);
  });
});

describe("a root secret", () => {
  it("gives keys that differ from each other, and an id that is none of them", () => {
    const { id, tagKey, pepper, pageTokenKey } = newer;
    const hexes = [tagKey, pepper, pageTokenKey].map((key) => key.toString("hex"));
    expect(new Set(hexes).size).toBe(3);
    expect(id).toMatch(/^[0-9a-f]{16}$/);
    for (const hex of [...hexes, Buffer.alloc(32, 2).toString("hex")]) expect(hex).not.toContain(id);
  });
});
