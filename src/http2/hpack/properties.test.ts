import fc from "fast-check";
import { expect, it } from "vitest";
import { type Field, type FieldForm, HpackTableEncoder } from "../../../testkit/hpack-table-encoder.ts";
import { HpackDecoder } from "./decoder.ts";
import { HpackError } from "./error.ts";

const LIMITS = { tableBytes: 4096, listBytes: 16_384, mostFields: 60, rememberedBlocks: 4 };

const anyByte = fc.integer({ min: 0, max: 255 }).map((code) => String.fromCharCode(code));
const anyText = fc.string({ unit: anyByte, maxLength: 60 });
/** Few names and values, so that indexes and repeated blocks are frequent. */
const field: fc.Arbitrary<Field> = fc.oneof(
  fc.tuple(fc.constantFrom(":path", "authorization", "x-a", "x-b"), fc.constantFrom("/", "1", "v".repeat(1200))),
  fc.tuple(anyText, anyText),
);
const form: fc.Arbitrary<FieldForm> = fc.record({
  useIndex: fc.boolean(),
  literal: fc.constantFrom("with indexing", "without indexing", "never indexed"),
  isHuffman: fc.boolean(),
});
const block = fc.record({
  resizes: fc.oneof(
    { weight: 4, arbitrary: fc.constant<number[]>([]) },
    fc.array(fc.integer({ min: 0, max: 4096 }), { maxLength: 2 }),
  ),
  fields: fc.array(fc.tuple(field, form), { maxLength: 12 }),
});

it("every form of every encoder decodes to the fields that were encoded", () => {
  fc.assert(
    fc.property(fc.array(block, { maxLength: 12 }), (blocks) => {
      const encoder = new HpackTableEncoder();
      const decoder = new HpackDecoder(LIMITS);
      for (const { resizes, fields } of blocks) {
        const bytes = Buffer.concat([
          ...resizes.map((size) => encoder.resize(size)),
          ...fields.map(([each, how]) => encoder.encode(each, how)),
        ]);
        const list = decoder.decode(bytes, 0, bytes.length);
        expect(list.bytes).toBe(fields.reduce((sum, [[name, value]]) => sum + name.length + value.length + 32, 0));
        expect(list.fields).toEqual(fields.flatMap(([each]) => each));
        expect(list.isTooLarge).toBe(false);
      }
    }),
  );
});

const TWO_INSERTS = "40016101314001620132";
/** Blocks that neither read nor change the dynamic table. */
const STABLE = ["8286", "840001610131", "0001610132", "82860f0d023432", ""];
/** Blocks of few sorts: most of them come again, some change the table. */
const repeatedBlock = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom(...STABLE, "be", "bf", "bebf", "8286be", "0f2f0133", "0f300133") },
  fc.constantFrom("400161023131", "40016201ff", "7e0133", "3fe11f"),
  fc.constantFrom(`203fe11f${TWO_INSERTS}`),
);

it("remembered blocks never change a result", () => {
  fc.assert(
    fc.property(fc.array(repeatedBlock, { minLength: 5, maxLength: 60 }), (blocks) => {
      const outcomesWith = (rememberedBlocks: number) => {
        const decoder = new HpackDecoder({ ...LIMITS, rememberedBlocks });
        return untilError([TWO_INSERTS, ...blocks], (bytes) => ({ ...decoder.decode(bytes, 0, bytes.length) }));
      };
      expect(outcomesWith(4)).toEqual(outcomesWith(0));
    }),
    { numRuns: 500 },
  );
});

it("control: in such sequences, most blocks are remembered ones", () => {
  const decoder = new HpackDecoder({ ...LIMITS, rememberedBlocks: STABLE.length });
  const sample = fc.sample(fc.constantFrom(...STABLE), { numRuns: 200, seed: 7 });
  const lists = sample.map((hex) => decoder.decode(Buffer.from(hex, "hex"), 0, hex.length / 2));
  expect(new Set(lists).size).toBeLessThan(50);
});

it("arbitrary bytes give lists within the limits, or an HpackError", () => {
  const bytes = fc.oneof(fc.uint8Array({ maxLength: 400 }), fc.array(nibbleHeavy, { maxLength: 400 }));
  fc.assert(
    fc.property(fc.array(bytes, { maxLength: 8 }), (blocks) => {
      const limits = { ...LIMITS, listBytes: 1000, mostFields: 10 };
      const decoder = new HpackDecoder(limits);
      untilError(
        blocks.map((each) => Buffer.from(each).toString("hex")),
        (block) => {
          const list = decoder.decode(block, 0, block.length);
          expect(list.fields.length).toBeLessThanOrEqual(2 * limits.mostFields);
          expect(list.fields.join("").length).toBeLessThanOrEqual(limits.listBytes);
          expect(list.isTooLarge).toBe(list.bytes > limits.listBytes || list.bytes > sizeOf(list.fields));
          return undefined;
        },
      );
    }),
    { numRuns: 1000 },
  );
});

it("a changed byte of a valid block gives a list within the limits, or an HpackError", () => {
  const change = fc.tuple(fc.nat(), fc.nat(255));
  fc.assert(
    fc.property(fc.array(fc.tuple(field, form), { minLength: 1, maxLength: 12 }), change, (fields, [at, byte]) => {
      const encoder = new HpackTableEncoder();
      const bytes = Buffer.concat(fields.map(([each, how]) => encoder.encode(each, how)));
      bytes[at % bytes.length] = byte;
      const decoder = new HpackDecoder(LIMITS);
      untilError([bytes.toString("hex")], (block) => decoder.decode(block, 0, block.length));
    }),
    { numRuns: 1000 },
  );
});

/** Bytes that are frequent in attacks: indexes of the dynamic table, short literals, size updates. */
const nibbleHeavy = fc.constantFrom(0x00, 0x01, 0x20, 0x40, 0x41, 0x61, 0x7e, 0x7f, 0x81, 0x82, 0xbe, 0xbf, 0xff);

function sizeOf(fields: readonly string[]): number {
  return fields.join("").length + 16 * fields.length;
}

/** The outcomes up to the first HpackError, whose message is the last. Other errors go on. */
function untilError<T>(blocks: readonly string[], work: (bytes: Buffer) => T): (T | string)[] {
  const outcomes: (T | string)[] = [];
  for (const hex of blocks) {
    try {
      outcomes.push(work(Buffer.from(hex, "hex")));
    } catch (error) {
      if (!(error instanceof HpackError)) throw error;
      return [...outcomes, error.message];
    }
  }
  return outcomes;
}
