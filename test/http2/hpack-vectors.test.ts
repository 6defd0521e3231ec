import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, inject, test } from "vitest";
import { HpackDecoder } from "../../src/http2/hpack/decoder.ts";
import { describeWithHpackStories } from "../../testkit/describe-with.ts";

/** Header blocks of one connection, in the form of github.com/http2jp/hpack-test-case. */
interface Story {
  readonly cases: readonly {
    /** Hexadecimal. */
    readonly wire: string;
    readonly headers: readonly Readonly<Record<string, string>>[];
    readonly header_table_size?: number | null;
  }[];
}

const ENCODERS: readonly [encoder: string, stories: number][] = [
  ["go-hpack", 32],
  ["haskell-http2-linear-huffman", 32],
  ["nghttp2", 32],
  ["nghttp2-16384-4096", 31],
  ["nghttp2-change-table-size", 31],
  ["swift-nio-hpack-huffman", 32],
];

describeWithHpackStories("HPACK stories of other encoders (absent: shared/data/hpack beside the repository)", () => {
  test.each(ENCODERS)("every block of every story of %s decodes to its headers", (encoder, count) => {
    const stories = storiesOf(encoder);
    expect(stories).toHaveLength(count);
    for (const [name, { cases }] of stories) {
      const decoder = decoderFor(cases);
      cases.forEach(({ wire, headers }, number) => {
        const block = Buffer.from(wire, "hex");
        const list = decoder.decode(block, 0, block.length);
        expect(list.fields, `${name}, block ${number}`).toEqual(fieldsOf(headers));
        expect(list.isTooLarge).toBe(false);
      });
    }
  });

  test("control: a story decodes to other headers, or to none, if one block is left out", () => {
    const [, { cases } = { cases: [] }] = storiesOf("nghttp2").at(-1) ?? [];
    const decoder = decoderFor(cases);
    const decodeRest = () =>
      cases.slice(1).map(({ wire }) => decoder.decode(Buffer.from(wire, "hex"), 0, wire.length / 2).fields);
    const wanted = cases.slice(1).map(({ headers }) => fieldsOf(headers));
    let decoded: unknown;
    try {
      decoded = decodeRest();
    } catch (error) {
      decoded = error;
    }
    expect(decoded).not.toEqual(wanted);
  });
});

function storiesOf(encoder: string): [name: string, story: Story][] {
  const folder = join(inject("hpack") ?? "", encoder);
  return globSync("story_*.json", { cwd: folder })
    .sort()
    .map((name) => [`${encoder}/${name}`, JSON.parse(readFileSync(join(folder, name), "utf8"))]);
}

/** A decoder whose limit is the largest table that the story's encoder was allowed. */
function decoderFor(cases: Story["cases"]): HpackDecoder {
  const tableBytes = Math.max(4096, ...cases.map((each) => each.header_table_size ?? 0));
  return new HpackDecoder({ tableBytes, listBytes: 1 << 20, mostFields: 1000, rememberedBlocks: 16 });
}

/** The stories hold the bytes of a value as UTF-8 text. */
function fieldsOf(headers: readonly Readonly<Record<string, string>>[]): string[] {
  return headers.flatMap((each) => Object.entries(each).flat()).map((text) => Buffer.from(text).toString("latin1"));
}
