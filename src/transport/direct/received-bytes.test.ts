import fc from "fast-check";
import { expect, it, onTestFinished, vi } from "vitest";
import { MessageEnds } from "../http/message-ends.ts";
import { ReceivedBytes } from "./received-bytes.ts";

/** Counts the bytes that are copied between buffers, by whatever way, while `work` runs. */
function copiedBytes(work: () => void): number {
  let copied = 0;
  const set = Uint8Array.prototype.set;
  const spies = [
    vi.spyOn(Uint8Array.prototype, "set").mockImplementation(function (this: Uint8Array, source, offset) {
      copied += source.length;
      set.call(this, source, offset);
    }),
    vi.spyOn(Buffer, "concat").mockImplementation(() => {
      throw new Error("not counted here; count what it copies");
    }),
    vi.spyOn(Buffer.prototype, "copy").mockImplementation(() => {
      throw new Error("not counted here; count what it copies");
    }),
  ];
  onTestFinished(() => void vi.restoreAllMocks());
  work();
  for (const spy of spies) spy.mockRestore();
  return copied;
}

const cuts = fc.array(fc.oneof(fc.constant(1), fc.integer({ min: 1, max: 3000 })), { minLength: 1, maxLength: 400 });

it("bytes are as they came, whatever the cuts, and each is copied three times at most", () => {
  fc.assert(
    fc.property(cuts, (sizes) => {
      const chunks = sizes.map((size, at) => Buffer.alloc(size, at % 256));
      const received = new ReceivedBytes();
      const copied = copiedBytes(() => {
        for (const chunk of chunks) received.add(chunk);
      });
      const all = Buffer.concat(chunks);
      expect(received.bytes.equals(all)).toBe(true);
      expect(copied).toBeLessThanOrEqual(3 * all.length);
    }),
    // Each piece is a little more than there is room for.
    { examples: [[[110, 1, 146, 1, 257, 2]]], numRuns: 2000 },
  );
});

it("what comes in one chunk is not copied", () => {
  const received = new ReceivedBytes();
  const chunk = Buffer.alloc(100);
  expect(copiedBytes(() => received.add(chunk))).toBe(0);
  expect(received.bytes).toBe(chunk);
});

it("messages with a prefix are found where they end, whatever the cuts", () => {
  const lengths = fc.array(fc.oneof(fc.constant(0), fc.nat(2000)), { maxLength: 30 });
  fc.assert(
    fc.property(lengths, cuts, (messages, sizes) => {
      const whole = Buffer.concat(
        messages.map((length) => {
          const message = Buffer.alloc(5 + length, 7);
          message.writeUInt32BE(length, 1);
          return message;
        }),
      );
      const ends = messages.map((_, at) => messages.slice(0, at + 1).reduce((sum, length) => sum + 5 + length, 0));
      const found = new MessageEnds();
      let at = 0;
      for (const size of [...sizes, whole.length]) {
        const here = found.of(whole.subarray(at, at + size)).map((end) => at + end);
        expect(here).toEqual(ends.filter((end) => end > at && end <= at + size));
        at += size;
      }
    }),
  );
});
