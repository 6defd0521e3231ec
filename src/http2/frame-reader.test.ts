import { expect, it } from "vitest";
import { FrameReader } from "./frame-reader.ts";
import { PREFACE } from "./frames.ts";

function frame(type: number, flags: number, streamId: number, payload: Buffer): Buffer {
  const head = Buffer.from([0, payload.length >> 8, payload.length, type, flags, 0, 0, 0, streamId]);
  return Buffer.concat([head, payload]);
}

const FRAMES = [
  frame(4, 0, 0, Buffer.alloc(0)),
  frame(1, 5, 1, Buffer.from("a header block")),
  frame(0, 0, 3, Buffer.alloc(300, "x")),
  frame(6, 1, 0, Buffer.from("opaque 8")),
];
const WHOLE = Buffer.concat([PREFACE, ...FRAMES]);

/** The frames that are handed on when the bytes come in these pieces. */
function read(pieces: readonly Buffer[]): Buffer[] {
  const frames: Buffer[] = [];
  const reader = new FrameReader({
    frame(type, flags, streamId, bytes, from, to) {
      frames.push(frame(type, flags, streamId, Buffer.from(bytes.subarray(from, to))));
    },
  });
  for (const piece of pieces) if (piece.length > 0) reader.read(piece);
  return frames;
}

it("hands on the same frames wherever the bytes are cut", () => {
  for (let first = 0; first <= WHOLE.length; first++) {
    for (let second = first; second <= WHOLE.length; second++) {
      const pieces = [WHOLE.subarray(0, first), WHOLE.subarray(first, second), WHOLE.subarray(second)];
      const frames = read(pieces);
      if (!frames.every((each, at) => FRAMES[at]?.equals(each)) || frames.length !== FRAMES.length) {
        expect.fail(`cut at ${first} and ${second}: ${frames.length} frames, or wrong ones`);
      }
    }
  }
});

it("hands on the same frames when each byte comes alone", () => {
  expect(read([...WHOLE].map((byte) => Buffer.from([byte])))).toEqual(FRAMES);
});

it.each([
  ["its first byte", Buffer.from("G")],
  ["its last byte", Buffer.concat([PREFACE.subarray(0, -1), Buffer.from("x")])],
])("refuses a preface with another byte in place of %s, whole or cut", (_, bytes) => {
  const refusal = "no HTTP/2 preface";
  expect(() => read([bytes])).toThrow(refusal);
  expect(() => read([...bytes].map((byte) => Buffer.from([byte])))).toThrow(refusal);
});
