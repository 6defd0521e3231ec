import fc from "fast-check";
import { describe, expect, it, test } from "vitest";
import { HpackDecoder } from "./decoder.ts";
import { encodeHeaders, encodeStatus, encodeTableSize } from "./encoder.ts";

function decode(...blocks: Buffer[]): readonly string[] {
  const decoder = new HpackDecoder({ tableBytes: 4096, listBytes: 1e6, mostFields: 1000, rememberedBlocks: 0 });
  const block = Buffer.concat(blocks);
  return decoder.decode(block, 0, block.length).fields;
}

const name = fc.stringMatching(/^[!#$%&'*+\-.^_`|~0-9a-z]{1,40}$/).filter((each) => !OF_CONNECTION.includes(each));
const value = fc.stringMatching(/^([\x21-\x7e\x80-\xff]([\t\x20-\x7e\x80-\xff]{0,300}[\x21-\x7e\x80-\xff])?)?$/);
const OF_CONNECTION = ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"];

it("allowed fields decode to themselves", () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(name, value)), (fields) => {
      expect(decode(encodeHeaders(fields))).toEqual(fields.flat());
    }),
  );
});

it("a status decodes to itself", () => {
  fc.assert(
    fc.property(fc.integer({ min: 102, max: 999 }), (status) => {
      expect(decode(encodeStatus(status))).toEqual([":status", String(status)]);
    }),
  );
});

it("common statuses and fields of the static table are one byte", () => {
  expect(encodeStatus(200).toString("hex")).toBe("88");
  expect(encodeHeaders([["accept-encoding", "gzip, deflate"]]).toString("hex")).toBe("90");
});

it("a field with a known name is its index and a raw value, and does not enter the client's table", () => {
  expect(encodeHeaders([["content-type", "application/grpc"]]).toString("latin1")).toBe("\x0f\x10\x10application/grpc");
  expect(encodeHeaders([["grpc-status", "0"]]).toString("latin1")).toBe("\0\x0bgrpc-status\x010");
});

it("a table size comes before the fields of a block", () => {
  expect(encodeTableSize(0).toString("hex")).toBe("20");
  expect(decode(encodeTableSize(0), encodeTableSize(4096), encodeStatus(204))).toEqual([":status", "204"]);
});

it("names become lower case, and values lose the spaces around them", () => {
  expect(decode(encodeHeaders([["X-Request-ID", " \ta b\t "]]))).toEqual(["x-request-id", "a b"]);
});

describe("a field that HTTP/2 does not allow is refused, and its value is not quoted", () => {
  test.each([
    ["a line break in the value", "x-a", "secret\r\nx-b: 1"],
    ["CR in the value", "x-a", "secret\r1"],
    ["LF in the value", "x-a", "secret\n1"],
    ["LF at the end of the value", "x-a", "secret\n"],
    ["NUL in the value", "x-a", "secret\0"],
    ["a value above latin1", "x-a", "secret\u0100"],
    ["no name", "", "secret"],
    ["a line break in the name", "x-a\r\nx-b", "secret"],
    ["a line break after the name", "x-a\n", "secret"],
    ["a space in the name", "x a", "secret"],
    ["a colon in the name", "x:a", "secret"],
    ["a name above ASCII", "x-\u00e4", "secret"],
    // Lower case of the Kelvin sign is k.
    ["a name that is ASCII only in lower case", "x-\u212a", "secret"],
    ["a pseudo-header", ":status", "secret"],
    ["a field of HTTP/1.1", "Connection", "secret"],
  ])("%s", (_, name, value) => {
    const attempt = () =>
      encodeHeaders([
        ["ok", "1"],
        [name, value],
      ]);
    expect(attempt).toThrow(TypeError);
    expect(attempt).not.toThrow(/secret/);
  });
});

test.each([0, 99, 101, 1000, 200.5, Number.NaN])("the status %d is refused", (status) => {
  expect(() => encodeStatus(status)).toThrow(RangeError);
});
