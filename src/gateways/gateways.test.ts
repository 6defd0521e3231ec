import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { authzTarget } from "./authz.ts";
import { clientAddress } from "./client-address.ts";
import { DeclaredAccess } from "./declared-access.ts";
import { identityHeaders } from "./identity-headers.ts";
import { parsePolicies } from "./policies.ts";
import { UsageMethods } from "./usage-methods.ts";

const ADMIN = { scopes: ["admin"], anonymous: false };
const declared = new DeclaredAccess(new Map([["/a.B/C", ADMIN]]));

it("a client cannot choose its address, whatever it writes left of the trusted hops", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 4 }),
      fc.array(fc.string()),
      fc.array(fc.ipV4(), { maxLength: 4 }),
      (hops, own, proxies) => {
        const forwardedFor = [[...own.map((text) => text.replaceAll(",", "")), ...proxies].join(",")];
        const address = clientAddress(hops, { forwardedFor, peer: "192.0.2.1" });
        if (proxies.length >= hops) expect(address).toBe(proxies.at(-hops));
      },
    ),
  );
});

it("too few addresses are an unknown address, and not that of the last hop", () => {
  expect(clientAddress(2, { forwardedFor: ["10.0.0.1"], peer: "10.0.0.2" })).toBe("");
  expect(clientAddress(undefined, { forwardedFor: ["10.0.0.1"], peer: "10.0.0.2" })).toBe("10.0.0.2");
});

it("every identity header of any owner is visible ASCII, not empty, and decodes to the owner", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), (owner) => {
      const found = { owner, keyId: "k", scopes: [], environment: "live", version: 1 } as never;
      const headers = new Map(identityHeaders(found));
      for (const value of headers.values()) expect(value).toMatch(/^[!-~]+$/);
      const shown = headers.get("x-claviger-owner") ?? "";
      // Only no owner is shown as `-`.
      expect(shown === "-").toBe(owner === "");
      if (owner !== "") expect(decodeURIComponent(shown)).toBe(owner.toWellFormed());
    }),
    { examples: [[""], ["-"]] },
  );
});

it.each(["/a.B/C", "/a.B/C?x", "//a.B/C", "/x/../a.B/C", "/a.B/%43", "/./a.B//C/", "/a.B\\C"])(
  "the declared scopes hold for the spelling %s of a path",
  (path) => expect(declared.of(path)).toEqual(ADMIN),
);

it("names of methods stay few, whatever clients send", () => {
  const methods = new UsageMethods(declared);
  const names = Array.from({ length: 3000 }, (_, at) => [
    methods.of({ method: `M${at}`, path: `/x/${at}`, isGrpc: false }),
    methods.of({ method: "POST", path: `/x.Y/${at}`, isGrpc: true }),
  ]);
  expect(new Set(names.flat()).size).toBe(1002);
});

it("a path of /authz has its policy in the first segment", () => {
  expect(authzTarget("/authz")).toEqual({ policy: "", rest: "" });
  expect(authzTarget("/authz/p")).toEqual({ policy: "p", rest: "" });
  expect(authzTarget("/authz/p/q/r")).toEqual({ policy: "p", rest: "/q/r" });
  expect(authzTarget("/authz//p")).toEqual({ policy: "", rest: "/p" });
  expect(authzTarget("/authzp")).toBeUndefined();
});

describe("a policies file", () => {
  it.each([
    "",
    "[]",
    '{"-": {}}',
    '{"a": []}',
    '{"a": {"scope": []}}',
    '{"a": {"scopes": ["*"]}}',
    '{"a": {"anonymous": 1}}',
  ])("is refused as %s", (text) => expect(() => parsePolicies(text)).toThrow());
  it("cannot require scopes of requests without a key", () => {
    expect(() => parsePolicies('{"a": {"anonymous": true, "scopes": ["b"]}}')).toThrow("Remove one of the two");
  });
});
