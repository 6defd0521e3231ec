import { afterEach, describe, expect, it, test, vi } from "vitest";
import { HpackDecoder, type HpackLimits } from "./decoder.ts";
import { HpackDynamicTable } from "./dynamic-table.ts";
import { HpackError } from "./error.ts";

const LIMITS: HpackLimits = { tableBytes: 4096, listBytes: 16_384, mostFields: 100, rememberedBlocks: 8 };

const decoderWith = (limits: Partial<HpackLimits> = {}) => new HpackDecoder({ ...LIMITS, ...limits });

function decode(decoder: HpackDecoder, ...hex: string[]) {
  const block = Buffer.from(hex.join(""), "hex");
  return decoder.decode(block, 0, block.length);
}

/** A literal field whose name and value are new, as hexadecimal; `flags` 40 puts it into the table. */
function literal(flags: string, name: string, value: string): string {
  const text = (each: string) => {
    const rest = each.length - 127;
    const length = rest < 0 ? [each.length] : rest < 128 ? [127, rest] : [127, (rest & 127) | 128, rest >> 7];
    return Buffer.concat([Buffer.from(length), Buffer.from(each)]).toString("hex");
  };
  return flags + text(name) + text(value);
}

const REQUEST = [":method", "GET", ":scheme", "http", ":path", "/", ":authority", "www.example.com"];
const SECOND_REQUEST = [...REQUEST, "cache-control", "no-cache"];
const THIRD_REQUEST = [
  ...[":method", "GET", ":scheme", "https", ":path", "/index.html", ":authority", "www.example.com"],
  ...["custom-key", "custom-value"],
];
const RESPONSE = [
  ...[":status", "302", "cache-control", "private", "date", "Mon, 21 Oct 2013 20:13:21 GMT"],
  ...["location", "https://www.example.com"],
];
const SECOND_RESPONSE = RESPONSE.with(1, "307");
const THIRD_RESPONSE = [
  ...[":status", "200", "cache-control", "private", "date", "Mon, 21 Oct 2013 20:13:22 GMT"],
  ...["location", "https://www.example.com", "content-encoding", "gzip"],
  ...["set-cookie", "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1"],
];
/** Appendices C.5 and C.6 use a table of 256 bytes. */
const SIZE_256 = "3fe101";

const EXAMPLES: readonly [appendix: string, blocks: readonly [hex: string, fields: readonly string[]][]][] = [
  ["C.2.1", [["400a637573746f6d2d6b65790d637573746f6d2d686561646572", ["custom-key", "custom-header"]]]],
  ["C.2.2", [["040c2f73616d706c652f70617468", [":path", "/sample/path"]]]],
  ["C.2.3", [["100870617373776f726406736563726574", ["password", "secret"]]]],
  ["C.2.4", [["82", [":method", "GET"]]]],
  [
    "C.3",
    [
      ["828684410f7777772e6578616d706c652e636f6d", REQUEST],
      ["828684be58086e6f2d6361636865", SECOND_REQUEST],
      ["828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565", THIRD_REQUEST],
    ],
  ],
  [
    "C.4",
    [
      ["828684418cf1e3c2e5f23a6ba0ab90f4ff", REQUEST],
      ["828684be5886a8eb10649cbf", SECOND_REQUEST],
      ["828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf", THIRD_REQUEST],
    ],
  ],
  [
    "C.5",
    [
      [
        `${SIZE_256}4803333032580770726976617465611d4d6f6e2c203231204f637420323031332032303a31333a323120474d546e17` +
          "68747470733a2f2f7777772e6578616d706c652e636f6d",
        RESPONSE,
      ],
      ["4803333037c1c0bf", SECOND_RESPONSE],
      [
        "88c1611d4d6f6e2c203231204f637420323031332032303a31333a323220474d54c05a04677a69707738666f6f3d4153444a4b4851" +
          "4b425a584f5157454f50495541585157454f49553b206d61782d6167653d333630303b2076657273696f6e3d31",
        THIRD_RESPONSE,
      ],
    ],
  ],
  [
    "C.6",
    [
      [
        `${SIZE_256}488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c78f0b97c8` +
          "e9ae82ae43d3",
        RESPONSE,
      ],
      ["4883640effc1c0bf", SECOND_RESPONSE],
      [
        "88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7821dd7f2e6c7b335dfdfcd5b3960d5af27" +
          "087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007",
        THIRD_RESPONSE,
      ],
    ],
  ],
];

test.each(EXAMPLES)("the example %s of RFC 7541 decodes to its fields", (_, blocks) => {
  const decoder = decoderWith();
  for (const [hex, fields] of blocks) expect(decode(decoder, hex).fields).toEqual(fields);
});

it("after appendix C.6, the table holds the three fields that the appendix lists", () => {
  const decoder = decoderWith();
  const [, blocks = []] = EXAMPLES.at(-1) ?? [];
  for (const [hex] of blocks) decode(decoder, hex);
  expect(decode(decoder, "bebfc0").fields).toEqual([
    ...THIRD_RESPONSE.slice(10, 12),
    ...THIRD_RESPONSE.slice(8, 10),
    ...THIRD_RESPONSE.slice(4, 6),
  ]);
  expect(() => decode(decoder, "c1")).toThrow(HpackError);
});

it("the size of a list counts 32 bytes for each field", () => {
  expect(decode(decoderWith(), "8284").bytes).toBe(":method".length + "GET".length + ":path".length + 1 + 64);
});

it("a block is read between its bounds only, also in a view that is not a Buffer", () => {
  const bytes = Uint8Array.of(0xff, 0xff, 0x82, 0xff).subarray(1);
  expect(decoderWith().decode(bytes, 1, 2).fields).toEqual([":method", "GET"]);
});

it("each byte of a value becomes one UTF-16 unit", () => {
  expect(decode(decoderWith(), "00", "0161", "02c3a4").fields).toEqual(["a", "\u00c3\u00a4"]);
});

it("a table of less than 4096 bytes is refused: a client may use those before it knows the limit", () => {
  expect(() => decoderWith({ tableBytes: 4095 })).toThrow(RangeError);
});

const MALFORMED: readonly [defect: string, hex: string, reason: RegExp][] = [
  ["index 0", "80", /index 0/],
  ["an index beyond the static table", "be", /index 62/],
  ["an index beyond both tables", "40016101" + "62" + "bf", /index 63/],
  ["a name index beyond both tables", "7f0001" + "61", /index 63/],
  ["an index of 35 bits", "ffffffffff7f", /index \d+ names no field/],
  ["padding of zeros", "0001618118", /padding/],
  ["padding of more than 7 bits", "00016182" + "1fff", /padding/],
  ["padding alone", "00016181ff", /padding/],
  ["EOS", "00016184ffffffff", /EOS/],
  ["EOS in a name", "0084ffffffff0161", /EOS/],
  ["a size update after a field", "8220", /size update/],
  ["three size updates", "20203f010082", /size update/],
  ["a size update above the limit", "3fe21f", /4097 bytes/],
  ["an index without its end", "ff", /ends within/],
  ["an integer without its end", "7f80", /ends within/],
  ["a literal without name", "00", /ends within/],
  ["a literal without value", "000161", /ends within/],
  ["a name without its end", "000561", /ends within/],
  ["a value without its end", "0001610561", /ends within/],
  ["a string of 2^35 bytes", "007fffffffff7f", /ends within/],
  ["an integer of 6 continuation bytes", "ff808080808001", /5 continuation bytes/],
  ["an integer that never ends", `ff${"80".repeat(100)}`, /5 continuation bytes/],
];

describe("a malformed block", () => {
  test.each(MALFORMED)("with %s is refused with its own reason", (_, hex, reason) => {
    const attempt = () => decode(decoderWith(), hex);
    expect(attempt).toThrow(HpackError);
    expect(attempt).toThrow(reason);
  });

  test.each([
    ["padding of 7 bits", "0001618418c631ff"],
    ["an integer of 5 continuation bytes", "3fe19f808000"],
    ["two size updates", "203fe11f82"],
    ["a size update to the limit", "3fe11f82"],
    ["an empty Huffman string", "00016180"],
    ["a block without fields", ""],
  ])("control: %s is allowed", (_, hex) => {
    expect(() => decode(decoderWith(), hex)).not.toThrow();
  });
});

describe("a list that is larger than allowed", () => {
  const entry = literal("40", "name", "v".repeat(4000));

  it("keeps a part of its fields, says so, and leaves the table right", () => {
    const decoder = decoderWith({ listBytes: 200 });
    const list = decode(decoder, "8286", literal("40", "a", "v".repeat(200)), "84", literal("40", "later", "field"));
    expect(list).toMatchObject({ isTooLarge: true, fields: [":method", "GET", ":scheme", "http"] });
    expect(list.bytes).toBeGreaterThan(200);
    expect(decode(decoder, "be")).toMatchObject({ isTooLarge: false, fields: ["later", "field"] });
  });

  it("is one with too many fields, too", () => {
    const decoder = decoderWith({ mostFields: 3 });
    expect(decode(decoder, "828282")).toMatchObject({ isTooLarge: false });
    expect(decode(decoder, "82828282")).toMatchObject({ isTooLarge: true, fields: { length: 6 } });
  });

  it("holds no more than the limit when each byte names an entry of 4 KiB", () => {
    const decoder = decoderWith();
    const list = decode(decoder, entry, "be".repeat(60_000));
    expect(list.isTooLarge).toBe(true);
    expect(list.fields.join("").length).toBeLessThan(LIMITS.listBytes);
    expect(list.bytes).toBe(60_001 * (4004 + 32));
  });
});

describe("the dynamic table", () => {
  const big = (name: string) => literal("40", name, "v".repeat(2000));

  it("evicts the oldest fields for a new one", () => {
    const decoder = decoderWith();
    decode(decoder, big("a"), big("b"), big("c"));
    const { fields } = decode(decoder, "bebf");
    expect([fields[0], fields[2]]).toEqual(["c", "b"]);
    expect(() => decode(decoder, "c0")).toThrow(/index 64/);
  });

  it("is empty after a field that is larger than itself, which the list has all the same", () => {
    const decoder = decoderWith();
    decode(decoder, big("a"));
    expect(decode(decoder, literal("40", "b", "v".repeat(4096))).fields[0]).toBe("b");
    expect(() => decode(decoder, "be")).toThrow(/index 62/);
  });

  it("gives a new field the name of an entry that the field evicts", () => {
    const decoder = decoderWith();
    decode(decoder, literal("40", "name", "v".repeat(4000)));
    expect(decode(decoder, "7e", "0177").fields).toEqual(["name", "w"]);
    expect(decode(decoder, "be").fields).toEqual(["name", "w"]);
  });

  it("is emptied by a size update to 0, and larger again after the next", () => {
    const decoder = decoderWith();
    decode(decoder, big("a"));
    decode(decoder, "20", "3fe11f", big("b"));
    expect(decode(decoder, "be").fields[0]).toBe("b");
    expect(() => decode(decoder, "bf")).toThrow(/index 63/);
  });

  it("keeps the order of its fields while it grows to as many as fit", () => {
    const decoder = decoderWith({ listBytes: 1e6, mostFields: 1000 });
    for (let number = 0; number < 500; number++) decode(decoder, literal("40", "n", String(1000 + number)));
    const fitting = Math.floor(4096 / (32 + 1 + 4));
    const all = Array.from({ length: fitting }, (_, age) =>
      age < 65 ? (0xbe + age).toString(16) : `ff${(age - 65).toString(16).padStart(2, "0")}`,
    );
    expect(decode(decoder, ...all).fields.filter((_, at) => at % 2 === 1)).toEqual(
      Array.from({ length: fitting }, (_, age) => String(1499 - age)),
    );
  });
});

describe("a block that came before", () => {
  const block = `8286${literal("00", "authorization", "Bearer 1")}`;
  const other = `8286${literal("00", "authorization", "Bearer 2")}`;

  it("gives the same list while the table stays", () => {
    const decoder = decoderWith();
    decode(decoder, block);
    const list = decode(decoder, block);
    expect(decode(decoder, block)).toBe(list);
  });

  it("gives the same list between other blocks", () => {
    const decoder = decoderWith();
    for (let round = 0; round < 2; round++) [block, other].map((each) => decode(decoder, each));
    const lists = [block, other].map((each) => decode(decoder, each));
    expect([block, other].map((each) => decode(decoder, each) === lists[each === block ? 0 : 1])).toEqual([true, true]);
    expect(lists.map(({ fields }) => fields.at(-1))).toEqual(["Bearer 1", "Bearer 2"]);
  });

  it("is decoded again after a field entered the table", () => {
    const decoder = decoderWith();
    decode(decoder, literal("40", "a", "1"));
    for (let round = 0; round < 3; round++) expect(decode(decoder, "be").fields).toEqual(["a", "1"]);
    decode(decoder, literal("40", "b", "2"));
    expect(decode(decoder, "be").fields).toEqual(["b", "2"]);
  });

  it("is decoded again, and may be malformed, after a size update", () => {
    const decoder = decoderWith();
    decode(decoder, literal("40", "a", "1"));
    for (let round = 0; round < 3; round++) decode(decoder, "be");
    decode(decoder, "20");
    expect(() => decode(decoder, "be")).toThrow(/index 62/);
  });

  it("inserts again if it inserts", () => {
    const decoder = decoderWith();
    for (let round = 0; round < 3; round++) decode(decoder, literal("40", "a", "1"));
    expect(decode(decoder, "bebfc0").fields).toHaveLength(6);
  });

  it("gives a new list each time if no block is remembered", () => {
    const decoder = decoderWith({ rememberedBlocks: 0 });
    const lists = new Set(Array.from({ length: 4 }, () => decode(decoder, block)));
    expect(lists.size).toBe(4);
  });

  it("is forgotten when more blocks came than may be remembered", () => {
    const decoder = decoderWith({ rememberedBlocks: 2 });
    decode(decoder, block);
    const list = decode(decoder, block);
    for (const name of ["b", "c", "d"]) {
      for (let round = 0; round < 2; round++) decode(decoder, literal("00", name, "1"));
    }
    const again = decode(decoder, block);
    expect(again).not.toBe(list);
    expect(again.fields).toEqual(list.fields);
  });

  it("is not remembered if it or its list is larger than the memory of the connection", () => {
    const decoder = decoderWith({ listBytes: 1e6 });
    const large = literal("00", "a", "v".repeat(16_000)).repeat(3);
    const lists = new Set(Array.from({ length: 4 }, () => decode(decoder, large)));
    expect(lists.size).toBe(4);
  });
});

describe("the work for a block", () => {
  afterEach(() => void vi.restoreAllMocks());

  it("is at most three operations of the table for each byte", () => {
    const spies = (["insert", "nameAt", "valueAt", "resize"] as const).map((each) =>
      vi.spyOn(HpackDynamicTable.prototype, each),
    );
    const decoder = decoderWith();
    const blocks = [literal("40", "name", "v".repeat(4000)), "be".repeat(5000), "7e00".repeat(5000), "20", "3fe11f"];
    for (const block of blocks) {
      for (const spy of spies) spy.mockClear();
      decode(decoder, block);
      const calls = spies.reduce((sum, spy) => sum + spy.mock.calls.length, 0);
      expect(calls).toBeGreaterThan(0);
      expect(calls).toBeLessThanOrEqual((3 * block.length) / 2);
    }
  });
});
