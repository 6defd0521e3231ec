import fc from "fast-check";
import { describe, expect, it, test } from "vitest";
import type { HeaderList } from "./hpack/decoder.ts";
import { isValidTrailers, MalformedHead, RequestHead, requestHeadOf } from "./request-head.ts";

type Field = readonly [name: string, value: string];

const PSEUDO: readonly Field[] = [
  [":method", "POST"],
  [":scheme", "http"],
  [":path", "/a.B/C"],
  [":authority", "localhost:8080"],
];

function listOf(fields: readonly Field[], isTooLarge = false): HeaderList {
  return { fields: fields.flat(), bytes: 0, isTooLarge, head: undefined };
}

const headOf = (...fields: Field[]) => requestHeadOf(listOf(fields));

/** The usual pseudo-headers, with one of them changed or left out. */
function changed(name: string, value?: string): Field[] {
  const others = PSEUDO.filter(([each]) => each !== name);
  return value === undefined ? others : [...others, [name, value]];
}

function accepted(fields: readonly Field[]): RequestHead {
  const head = requestHeadOf(listOf(fields));
  expect(head).toBeInstanceOf(RequestHead);
  return head as RequestHead;
}

it("a request head has the pseudo-headers and the fields", () => {
  const head = accepted([...PSEUDO, ["content-type", "application/grpc"], ["x-a", ""], ["content-length", "12"]]);
  expect({ ...head, headers: Object.fromEntries(head.headers) }).toEqual({
    method: "POST",
    scheme: "http",
    path: "/a.B/C",
    authority: "localhost:8080",
    headers: { "content-type": "application/grpc", "x-a": "", "content-length": "12" },
    contentLength: 12,
    notes: undefined,
  });
});

it("a list gives the same head each time, so that receivers keep their notes with it", () => {
  const list = listOf(PSEUDO);
  const head = requestHeadOf(list) as RequestHead;
  head.notes = "kept";
  expect(requestHeadOf(list)).toBe(head);
  expect(requestHeadOf(list)).toMatchObject({ notes: "kept" });
  const malformed = listOf([]);
  expect(requestHeadOf(malformed)).toBe(requestHeadOf(malformed));
});

const ACCEPTED: readonly [what: string, fields: readonly Field[]][] = [
  [
    "OPTIONS of *",
    [
      [":method", "OPTIONS"],
      [":scheme", "https"],
      [":path", "*"],
      [":authority", "a"],
    ],
  ],
  ["host in place of :authority", [...changed(":authority"), ["host", "a:80"]]],
  ["host beside an equal :authority", [...PSEUDO, ["host", "localhost:8080"]]],
  ["host beside an :authority in other case", [...changed(":authority", "Example.com"), ["host", "example.COM"]]],
  ["host without the default port", [...changed(":authority", "a:80"), ["host", "a"]]],
  ["host with an empty port", [...changed(":authority", "a"), ["host", "a:"]]],
  ["an IPv6 address", changed(":authority", "[::1]:8080")],
  ["an equal host twice", [...PSEUDO, ["host", "localhost:8080"], ["host", "localhost:8080"]]],
  ["te: trailers", [...PSEUDO, ["te", "trailers"]]],
  ["te: Trailers", [...PSEUDO, ["te", "Trailers"]]],
  ["an equal content-length twice", [...PSEUDO, ["content-length", "0"], ["content-length", "0"]]],
  ["a tab and bytes above ASCII within a value", [...PSEUDO, ["x", "a\tb\u00e4"]]],
  ["an empty value", [...PSEUDO, ["x", ""]]],
  ["each character of a token", [...PSEUDO, ["!#$%&'*+-.^_`|~09az", "x"]]],
  ["a path with bytes above ASCII", changed(":path", "/\u00e4?b=%20")],
  ["a name of Object.prototype", [...PSEUDO, ["__proto__", "x"], ["constructor", "y"]]],
];

test.each(ACCEPTED)("%s is accepted", (_, fields) => {
  accepted(fields);
});

const MALFORMED: readonly [what: string, reason: RegExp, fields: readonly Field[]][] = [
  ["an empty list", /:method/, []],
  ["no :method", /:method/, changed(":method")],
  ["an empty :method", /:method/, changed(":method", "")],
  ["a :method with a space", /:method/, changed(":method", "GET /")],
  [
    "CONNECT",
    /CONNECT/,
    [
      [":method", "CONNECT"],
      [":authority", "a:443"],
    ],
  ],
  ["no :scheme", /:scheme/, changed(":scheme")],
  ["an empty :scheme", /:scheme/, changed(":scheme", "")],
  ["a :scheme with a colon", /:scheme/, changed(":scheme", "http:")],
  ["no :path", /:path/, changed(":path")],
  ["an empty :path", /:path/, changed(":path", "")],
  ["a :path without a slash", /:path/, changed(":path", "a")],
  ["a :path of * for POST", /:path/, changed(":path", "*")],
  ["a space in :path", /:path/, changed(":path", "/a b")],
  ["a line break in :path", /:path/, changed(":path", "/a\r\nb: c")],
  ["a line break after :path", /:path/, changed(":path", "/a\n")],
  ["neither :authority nor host", /:authority and host/, changed(":authority")],
  ["an empty :authority", /:authority/, changed(":authority", "")],
  ["an empty host", /:authority/, [...changed(":authority"), ["host", ""]]],
  ["user information in :authority", /:authority/, changed(":authority", "user@a")],
  ["a list in :authority", /:authority/, changed(":authority", "a, b")],
  ["a line break in :authority", /:authority/, changed(":authority", "a\nb")],
  ["host that differs from :authority", /host differs/, [...PSEUDO, ["host", "other"]]],
  ["host with another port", /host differs/, [...PSEUDO, ["host", "localhost:8081"]]],
  ["two hosts", /host differs/, [...PSEUDO, ["host", "localhost:8080"], ["host", "b"]]],
  ["two hosts without :authority", /host/, [...changed(":authority"), ["host", "a"], ["host", "b"]]],
  ["the default port of another scheme", /host differs/, [...changed(":authority", "a:443"), ["host", "a"]]],
  ["a repeated :method", /repeated/, [...PSEUDO, [":method", "POST"]]],
  ["a repeated :path", /repeated/, [...PSEUDO, [":path", "/other"]]],
  ["a repeated :authority", /repeated/, [...PSEUDO, [":authority", "localhost:8080"]]],
  ["a repeated empty :scheme", /repeated/, [...changed(":scheme", ""), [":scheme", "http"]]],
  ["a pseudo-header after a field", /after a field/, [...changed(":path"), ["a", "b"], [":path", "/"]]],
  [":status", /unknown/, [...PSEUDO, [":status", "200"]]],
  [":protocol", /unknown/, [...PSEUDO, [":protocol", "websocket"]]],
  ["an unknown pseudo-header", /unknown/, [...PSEUDO, [":a", "b"]]],
  ["an upper-case pseudo-header", /unknown/, [...changed(":path"), [":Path", "/"]]],
  ["an empty name", /field name/, [...PSEUDO, ["", "x"]]],
  ["an upper-case name", /field name/, [...PSEUDO, ["X-a", "x"]]],
  ["a space in a name", /field name/, [...PSEUDO, ["x a", "x"]]],
  ["a colon in a name", /field name/, [...PSEUDO, ["x:a", "x"]]],
  ["a byte above ASCII in a name", /field name/, [...PSEUDO, ["x\u00e4", "x"]]],
  ["NUL in a name", /field name/, [...PSEUDO, ["x\0", "x"]]],
  ["a line break after a name", /field name/, [...PSEUDO, ["x\n", "x"]]],
  ["CR in a value", /value of x/, [...PSEUDO, ["x", "a\rb"]]],
  ["LF in a value", /value of x/, [...PSEUDO, ["x", "a\nb"]]],
  ["LF after a value", /value of x/, [...PSEUDO, ["x", "a\n"]]],
  ["NUL in a value", /value of x/, [...PSEUDO, ["x", "\0"]]],
  ["DEL in a value", /value of x/, [...PSEUDO, ["x", "a\x7f"]]],
  ["a space before a value", /value of x/, [...PSEUDO, ["x", " a"]]],
  ["a tab after a value", /value of x/, [...PSEUDO, ["x", "a\t"]]],
  ["a value of a space", /value of x/, [...PSEUDO, ["x", " "]]],
  ["connection", /connection/, [...PSEUDO, ["connection", "close"]]],
  ["keep-alive", /keep-alive/, [...PSEUDO, ["keep-alive", "timeout=5"]]],
  ["proxy-connection", /proxy-connection/, [...PSEUDO, ["proxy-connection", "close"]]],
  ["transfer-encoding", /transfer-encoding/, [...PSEUDO, ["transfer-encoding", "chunked"]]],
  ["upgrade", /upgrade/, [...PSEUDO, ["upgrade", "h2c"]]],
  ["te: gzip", /te /, [...PSEUDO, ["te", "gzip"]]],
  ["te: trailers, gzip", /te /, [...PSEUDO, ["te", "trailers, gzip"]]],
  ["an empty te", /te /, [...PSEUDO, ["te", ""]]],
  ["a content-length with a sign", /content-length/, [...PSEUDO, ["content-length", "+1"]]],
  ["a hexadecimal content-length", /content-length/, [...PSEUDO, ["content-length", "0x1"]]],
  ["an empty content-length", /content-length/, [...PSEUDO, ["content-length", ""]]],
  ["a list of content-lengths", /content-length/, [...PSEUDO, ["content-length", "1, 1"]]],
  ["different content-lengths", /content-length/, [...PSEUDO, ["content-length", "1"], ["content-length", "2"]]],
  ["a content-length that is not exact", /content-length/, [...PSEUDO, ["content-length", "9".repeat(16)]]],
];

describe("a malformed head", () => {
  test.each(MALFORMED)("has a reason for %s", (_, reason, fields) => {
    const head = headOf(...fields);
    expect(head).toBeInstanceOf(MalformedHead);
    expect(head).toMatchObject({ reason: expect.stringMatching(reason) });
  });

  it("is that of a list that lacks fields, because it was too large", () => {
    expect(requestHeadOf(listOf(PSEUDO, true))).toBeInstanceOf(MalformedHead);
  });

  it("quotes no value", () => {
    const head = headOf(...PSEUDO, ["authorization", "secret\n"], ["host", "secret"]);
    expect(JSON.stringify(head)).not.toContain("secret");
  });
});

describe("a repeated field", () => {
  const joinedValue = (name: string, ...values: string[]) =>
    accepted([...PSEUDO, ...values.map((value): Field => [name, value])]).headers.get(name);

  it("is joined by commas, also with equal values", () => {
    expect(joinedValue("x-a", "1", "2", "1")).toBe("1, 2, 1");
  });

  it("is joined by semicolons for cookie", () => {
    expect(joinedValue("cookie", "a=1", "b=2")).toBe("a=1; b=2");
  });

  test.each(["authorization", "content-type", "user-agent"])("counts once for %s with equal values", (name) => {
    expect(joinedValue(name, "1", "1", "1")).toBe("1");
  });

  it("is joined for authorization with different values, so that neither counts alone", () => {
    expect(joinedValue("authorization", "Bearer 1", "Bearer 2")).toBe("Bearer 1, Bearer 2");
  });
});

describe("request trailers", () => {
  test.each<[valid: boolean, what: string, fields: readonly Field[]]>([
    [true, "no field", []],
    [true, "a field", [["x-a", "1"]]],
    [false, "a pseudo-header", [[":path", "/"]]],
    [false, "an upper-case name", [["X-a", "1"]]],
    [false, "a line break in a value", [["x-a", "1\r\n2"]]],
    [false, "a field of HTTP/1.1", [["connection", "close"]]],
  ])("are valid: %s, with %s", (valid, _, fields) => {
    expect(isValidTrailers(listOf(fields))).toBe(valid);
  });

  it("are not valid if the list lacks fields, because it was too large", () => {
    expect(isValidTrailers(listOf([], true))).toBe(false);
  });
});

it("an accepted head has no control character in any name or value but tabs within values", () => {
  const anyByte = fc.integer({ min: 0, max: 255 }).map((code) => String.fromCharCode(code));
  const mostlyPlain = fc.oneof({ weight: 20, arbitrary: fc.constantFrom("a", "b", "/", ":") }, anyByte);
  const text = fc.string({ unit: mostlyPlain, maxLength: 8 });
  const field = fc.tuple(fc.oneof(text, fc.constantFrom("te", "host", "cookie", "authorization")), text);
  const pseudo = fc
    .tuple(text, text)
    .map(([path, authority]): Field[] => [
      ...changed(":path", `/${path}`).filter(([name]) => name !== ":authority"),
      [":authority", authority],
    ]);
  let heads = 0;
  fc.assert(
    fc.property(pseudo, fc.array(field, { maxLength: 4 }), (first, rest) => {
      const head = requestHeadOf(listOf([...first, ...rest]));
      if (head instanceof MalformedHead) return;
      heads += 1;
      const { method, scheme, path, authority, headers } = head;
      for (const each of [method, scheme, path, authority, ...headers.keys()]) expect(hasControl(each)).toBe(false);
      for (const each of headers.values()) expect(hasControl(each.replaceAll("\t", ""))).toBe(false);
    }),
    { numRuns: 3000 },
  );
  expect(heads).toBeGreaterThan(100);
});

/** Control characters of ASCII. */
function hasControl(text: string): boolean {
  return [...text].some((each) => each < " " || each === "\x7f");
}
