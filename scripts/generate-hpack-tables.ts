/**
 * `node scripts/generate-hpack-tables.ts`: writes `src/http2/hpack/tables.ts` from the tables of RFC 7541, which
 * `scripts/rfc7541-tables.txt` holds. A test holds the file to the output of this script.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const SOURCE = join(import.meta.dirname, "rfc7541-tables.txt");
const TARGET = join(import.meta.dirname, "../src/http2/hpack/tables.ts");
const LINE_WIDTH = 120;

/** The text of `src/http2/hpack/tables.ts`, as the formatter writes it. */
export function makeHpackTables(): string {
  const [, , fields = "", , codes = ""] = readFileSync(SOURCE, "utf8").split("\n\n");
  const bits = rowsOf(codes).map(([, code = ""]) => code);
  return `// Made by scripts/generate-hpack-tables.ts from RFC 7541; do not edit.

/** Appendix A: the names and values of the static table in turns. The name of index i is at 2 × i; index 0 is unused. */
export const STATIC_FIELDS: readonly string[] = [
  "",
  "",
${rowsOf(fields)
  .flatMap(([, name = "", ...value]) => [name, value.join(" ")])
  .map((text) => `  ${JSON.stringify(text)},\n`)
  .join("")}];

/** Appendix B: the Huffman code of each byte, and of EOS (256). */
export const HUFFMAN_CODES: readonly number[] = [
${filled(bits.map((code) => `0x${Number.parseInt(code, 2).toString(16)}`))}];

/** Appendix B: the length of each code in bits. */
export const HUFFMAN_LENGTHS: readonly number[] = [
${filled(bits.map((code) => String(code.length)))}];
`;
}

function rowsOf(table: string): string[][] {
  return table
    .trim()
    .split("\n")
    .map((row) => row.split(" "));
}

function filled(items: readonly string[]): string {
  const lines: string[] = [];
  let line = "";
  for (const item of items) {
    const longer = line === "" ? `  ${item},` : `${line} ${item},`;
    if (longer.length > LINE_WIDTH) lines.push(line);
    line = longer.length > LINE_WIDTH ? `  ${item},` : longer;
  }
  return [...lines, line].map((each) => `${each}\n`).join("");
}

if (import.meta.filename === process.argv[1]) writeFileSync(TARGET, makeHpackTables());
