import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { isLeftForHandler, readCredential } from "./credential.ts";

/** What a credential may consist of (RFC 6750, b64token). */
const token = fc.stringMatching(/^[A-Za-z0-9._~+/:-]{1,80}=*$/);
const bearer = fc.constantFrom("Bearer", "bearer", "BEARER");
const gap = fc.constantFrom(" ", "  ", "\t");

/** The key that is read, or why there is none. */
function read(authorization: readonly string[], apiKey: readonly string[] = []): string {
  const credential = readCredential({ authorization, apiKey });
  return credential.kind === "secret" ? credential.secret.reveal() : credential.kind;
}

describe("reading the key of a call", () => {
  test("finds it behind Bearer, in any case, and in x-api-key", () => {
    fc.assert(
      fc.property(token, bearer, gap, (key, scheme, space) => {
        expect(read([`${scheme}${space}${key}`])).toBe(key);
        expect(read([], [key])).toBe(key);
        expect(read([], [` ${key} `])).toBe(key);
      }),
    );
  });

  test("accepts the same key in both headers, and no different keys", () => {
    fc.assert(
      fc.property(token, token, (one, other) => {
        expect(read([`Bearer ${one}`], [one])).toBe(one);
        fc.pre(one !== other);
        expect(read([`Bearer ${one}`], [other])).toBe("conflict");
      }),
    );
  });

  test("reads headers that were sent twice, apart or joined", () => {
    expect(read(["Bearer a", "Bearer b"])).toBe("conflict");
    expect(read(["Bearer a, Bearer b"])).toBe("conflict");
    expect(read([], ["a, b"])).toBe("conflict");
    expect(read(["Bearer a, Bearer a"])).toBe("a");
    expect(read(["Basic dTpw, Bearer a"])).toBe("a");
  });

  test.each([[[]], [[""]], [["Bearer"]], [["Bearer "]], [["Basic dTpw"]], [["clv_test_abc"]]])(
    "finds none in %j",
    (authorization) => {
      expect(read(authorization)).toBe("none");
      expect(read(authorization, [""])).toBe("none");
      expect(read(authorization, ["key"])).toBe("key");
    },
  );

  test("never throws on arbitrary headers", () => {
    fc.assert(
      fc.property(fc.array(fc.string()), fc.array(fc.string()), (authorization, apiKey) => {
        expect(["none", "secret", "conflict"]).toContain(readCredential({ authorization, apiKey }).kind);
      }),
    );
  });
});

describe("the authorization that is left for the handler", () => {
  test("has another scheme", () => {
    expect(isLeftForHandler(["Basic dTpw"])).toBe(true);
    expect(isLeftForHandler(['Digest username="u", realm="r"'])).toBe(true);
    expect(isLeftForHandler([])).toBe(true);
  });

  test("never contains a key, whatever else it contains", () => {
    const value = fc.oneof(
      fc.string(),
      fc.constant("Basic dTpw"),
      fc.tuple(bearer, gap, token).map(([scheme, space, key]) => `${scheme}${space}${key}`),
      token,
    );
    fc.assert(
      fc.property(fc.array(value, { maxLength: 3 }), fc.boolean(), (values, areJoined) => {
        const authorization = areJoined ? [values.join(", ")] : values;
        if (isLeftForHandler(authorization)) expect(read(authorization)).toBe("none");
      }),
    );
    expect(isLeftForHandler(["clv_test_without_a_scheme"])).toBe(false);
    expect(isLeftForHandler([`Token clv_test_${"0".repeat(49)}`])).toBe(false);
  });
});
