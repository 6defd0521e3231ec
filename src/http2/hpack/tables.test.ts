import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { makeHpackTables } from "../../../scripts/generate-hpack-tables.ts";
import { HUFFMAN_CODES, HUFFMAN_LENGTHS, STATIC_FIELDS } from "./tables.ts";

it("the tables are what scripts/generate-hpack-tables.ts makes", () => {
  expect(readFileSync(new URL("./tables.ts", import.meta.url), "utf8")).toBe(makeHpackTables());
});

it("the static table has 61 fields", () => {
  expect(STATIC_FIELDS).toHaveLength(2 * 62);
  expect(STATIC_FIELDS.slice(2 * 61)).toEqual(["www-authenticate", ""]);
});

it("the Huffman code of bytes and EOS is complete, and no code begins another", () => {
  const codes = HUFFMAN_CODES.map((code, symbol) => code.toString(2).padStart(HUFFMAN_LENGTHS[symbol] ?? 0, "0"));
  expect(codes).toHaveLength(257);
  expect(codes.reduce((sum, code) => sum + 2 ** -code.length, 0)).toBe(1);
  const sorted = codes.toSorted();
  expect(sorted.filter((code, at) => sorted[at + 1]?.startsWith(code))).toEqual([]);
});
