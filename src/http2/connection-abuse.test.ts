import { expect, it, test } from "vitest";
import { answerAtOnce, answerWhole, beginAnswer, openConnection } from "../../testkit/http2-connection.ts";
import { frame, headerBlock } from "../../testkit/http2-frames.ts";
import {
  CALL,
  dataFrame,
  headersFrame,
  pingFrame,
  type RawHttp2,
  resetFrame,
  settingsFrame,
  windowSetting,
  windowUpdateFrame,
} from "../../testkit/raw-http2.ts";
import { ErrorCode, Type } from "./frames.ts";

const { enhanceYourCalm, cancel, noError, protocolError, refusedStream, streamClosed } = ErrorCode;

/** Sixteen seconds of it may be used at once: 16,384 bytes, of which each frame costs 64 besides its payload. */
const FEW = { idleBytesPerSecond: 1024 };

function expectCutOff(client: RawHttp2, message: string): void {
  expect(client.goaways).toEqual([expect.objectContaining({ code: enhanceYourCalm })]);
  expect(client.goaways[0]?.message).toContain(message);
}

async function repeat(client: RawHttp2, count: number, frame: (at: number) => Buffer): Promise<void> {
  client.send(...Array.from({ length: count }, (_, at) => frame(at)));
  await client.reached();
}

test.each<[string, Buffer, number]>([
  ["PING", pingFrame(), 72],
  ["SETTINGS", settingsFrame(), 64],
  ["PRIORITY", frame(Type.priority, 0, 1, Buffer.from([0, 0, 0, 0, 9])), 69],
  ["WINDOW_UPDATE", windowUpdateFrame(0, 1), 68],
  ["unknown", frame(0xfa, 0, 0, Buffer.alloc(100)), 164],
  ["GOAWAY", frame(Type.goaway, 0, 0, Buffer.alloc(8)), 72],
])("%s frames end the connection with a message once they are more than the budget", async (_, frame, cost) => {
  const { client } = await openConnection(answerAtOnce, FEW);
  client.greet();
  await repeat(client, Math.floor((16_384 - 200) / cost), () => frame);
  expect(client.goaways).toEqual([]);
  await repeat(client, 5, () => frame);
  await client.closed();
  expectCutOff(client, "send fewer");
});

test("control frames may come again as time passes", async () => {
  const { client, pass } = await openConnection(answerAtOnce, FEW);
  client.greet();
  for (let second = 0; second < 100; second++) {
    await repeat(client, 13, () => pingFrame());
    pass(1000);
  }
  expect(client.goaways).toEqual([]);
});

test("a client that answers each message of a long stream with WINDOW_UPDATE and PING is not ended", async () => {
  const { client, streams } = await openConnection(beginAnswer, FEW);
  client.greet().send(headersFrame(1));
  await client.reached();
  for (let messages = 0; messages < 200; messages += 10) {
    for (let at = 0; at < 10; at++) streams[0]?.write(Buffer.alloc(20));
    await repeat(client, 10, () => Buffer.concat([windowUpdateFrame(1, 20), windowUpdateFrame(0, 20), pingFrame()]));
  }
  expect(client.goaways).toEqual([]);
  expect(client.of(Type.data, 1)).toHaveLength(200);
});

test("a client that has answers cut into single bytes is ended", async () => {
  const { client } = await openConnection(answerWhole(10_000), FEW);
  client.greet(windowSetting(0)).send(headersFrame(1, { isLast: true }));
  await repeat(client, 400, () => windowUpdateFrame(1, 1));
  await client.closed();
  expectCutOff(client, "send fewer");
});

test("a client whose calls each come with control frames is not ended", async () => {
  const { client } = await openConnection(answerWhole(), FEW);
  client.greet();
  await repeat(client, 1000, (at) =>
    Buffer.concat([headersFrame(2 * at + 1, { isLast: true }), windowUpdateFrame(0, 5), pingFrame()]),
  );
  expect(client.goaways).toEqual([]);
});

const RESETS = { streamResetBurst: 20, streamResetRate: 10 };

test.each<[string, (id: number) => Buffer]>([
  ["its client resets", (id) => Buffer.concat([headersFrame(id), resetFrame(id, cancel)])],
  ["have a WINDOW_UPDATE of nothing", (id) => Buffer.concat([headersFrame(id), windowUpdateFrame(id, 0)])],
  ["have a window that is too large", (id) => Buffer.concat([headersFrame(id), windowUpdateFrame(id, 2 ** 31 - 1)])],
  [
    "have more bytes than their content-length",
    (id) => {
      const fields = { ...CALL, "content-length": "1" };
      return Buffer.concat([headersFrame(id, { fields }), dataFrame(id, 2)]);
    },
  ],
])("a connection is ended that has too many streams which %s, and may go on as time passes", async (_, fault) => {
  const { client, streams, pass } = await openConnection(answerWhole(), RESETS);
  client.greet();
  let id = -1;
  const next = () => {
    id += 2;
    return fault(id);
  };
  await repeat(client, 20, next);
  pass(1000);
  await repeat(client, 10, next);
  expect(client.goaways).toEqual([]);
  await repeat(client, 2, next);
  await client.closed();
  expectCutOff(client, "cancel fewer");
  expect(streams.every(({ isClosed }) => isClosed)).toBe(true);
});

test("opening and resetting streams earns nothing: the burst is all there is", async () => {
  const { client, streams } = await openConnection(answerWhole(), RESETS);
  client.greet();
  await repeat(client, 1000, (at) => Buffer.concat([headersFrame(2 * at + 1), resetFrame(2 * at + 1, cancel)]));
  await client.closed();
  expect(streams.length).toBe(21);
});

test("streams beyond the limit are refused, and count as resets", async () => {
  const { client, streams } = await openConnection(answerWhole(), { ...RESETS, maxConcurrentStreams: 2 });
  client.greet();
  await repeat(client, 3, (at) => headersFrame(2 * at + 1));
  expect([client.resetCode(3), client.resetCode(5)]).toEqual([undefined, refusedStream]);
  client.send(dataFrame(1, 0, { isLast: true }));
  await client.reached();
  expect(client.isAnswered(1)).toBe(true);
  await repeat(client, 30, (at) => headersFrame(2 * at + 7));
  await client.closed();
  expectCutOff(client, "cancel fewer");
  expect(streams.length).toBeLessThanOrEqual(3);
});

test.each([
  ["tiny DATA frames", 1],
  ["empty DATA frames", 0],
])("%s beyond eight for the call end the connection", async (_, size) => {
  const { client } = await openConnection(answerWhole(), { mostTinyPieces: 20 });
  client.greet().send(headersFrame(1));
  await repeat(client, 20, () => dataFrame(1, size));
  expect(client.goaways).toEqual([]);
  await repeat(client, 1, () => dataFrame(1, size));
  await client.closed();
  expectCutOff(client, "whole messages");
});

test("tiny DATA frames that make messages whole, and calls in a few, do not end the connection", async () => {
  const { client, connection } = await openConnection(answerWhole(), { mostTinyPieces: 20 });
  client.greet().send(headersFrame(1));
  for (let messages = 0; messages < 100; messages++) {
    await repeat(client, 3, () => dataFrame(1, 1));
    connection.messagesCame(1);
  }
  for (let call = 0; call < 20; call++) {
    const id = 2 * call + 3;
    client.send(headersFrame(id));
    await repeat(client, 8, (at) => dataFrame(id, 1, { isLast: at === 7 }));
  }
  expect(client.goaways).toEqual([]);
});

test("DATA that comes late, after an early answer, is taken up to the window of its stream", async () => {
  const { client } = await openConnection(answerAtOnce, FEW);
  client.greet().send(headersFrame(1));
  await client.reached();
  expect([client.isAnswered(1), client.resetCode(1)]).toEqual([true, noError]);
  await repeat(client, 3, () => dataFrame(1, 16_384));
  await repeat(client, 1, () => dataFrame(1, 16_383, { isLast: true }));
  expect(client.goaways).toEqual([]);
  // It has ended the stream, and knows.
  client.send(dataFrame(1, 100));
  await client.closed();
  expect(client.goaways).toMatchObject([{ code: streamClosed }]);
});

test("late DATA beyond the window costs its bytes", async () => {
  const { client } = await openConnection(answerAtOnce, FEW);
  client.greet().send(headersFrame(1));
  await client.reached();
  await repeat(client, 4, () => dataFrame(1, 16_384));
  await repeat(client, 2, () => dataFrame(1, 16_384));
  await client.closed();
  expectCutOff(client, "send fewer");
});

test("a header block that goes on for ever ends the connection, be its frames full or empty", async () => {
  for (const size of [16_384, 0]) {
    const { client, streams } = await openConnection(answerAtOnce, FEW);
    client.greet().send(frame(Type.headers, 0, 1, headerBlock({ ":method": "POST" })));
    client.send(...Array.from({ length: 300 }, () => frame(Type.continuation, 0, 1, Buffer.alloc(size))));
    await client.closed();
    expect(client.goaways).toMatchObject([{ code: enhanceYourCalm }]);
    expect(streams).toEqual([]);
  }
});

test("a header block longer than 64 KiB ends the connection, though there is budget for its frames", async () => {
  const { client, streams } = await openConnection(answerAtOnce);
  client.greet().send(frame(Type.headers, 0, 1, headerBlock({ ":method": "POST" })));
  client.send(...Array.from({ length: 5 }, () => frame(Type.continuation, 0, 1, Buffer.alloc(16_384))));
  await client.closed();
  expectCutOff(client, "a header block is too long");
  expect(streams).toEqual([]);
});

it("nothing is taken from a connection that was ended", async () => {
  const { client, streams } = await openConnection(answerAtOnce, FEW);
  client.greet();
  client.send(...Array.from({ length: 300 }, () => pingFrame()), headersFrame(1, { isLast: true }));
  await client.closed();
  expect(streams).toEqual([]);
  expect(client.goaways).toHaveLength(1);
});

it("a stream that is reset while it begins gets nothing more, though its head ended the request", async () => {
  const events: string[] = [];
  const { client } = await openConnection((stream) => {
    stream.receiver = {
      data: () => void events.push("data"),
      drained: () => undefined,
      closed: () => void events.push("closed"),
    };
    stream.reset(refusedStream);
  });
  const fields = { ...CALL, "content-length": "1" };
  client.greet().send(headersFrame(1, { isLast: true }), headersFrame(3, { fields, isLast: true }));
  await client.reached();
  expect(events).toEqual(["closed", "closed"]);
  expect(client.of(Type.rstStream)).toHaveLength(2);
});

it("a receiver that throws has its stream reset, and the others are served", async () => {
  const { client, defects } = await openConnection((stream) => {
    if (stream.id === 1) throw new Error("a defect");
    answerWhole()(stream);
  });
  client.greet().send(headersFrame(1), headersFrame(3, { isLast: true }));
  await client.reached();
  expect([client.resetCode(1), client.isAnswered(3)]).toEqual([ErrorCode.internalError, true]);
  expect(defects).toHaveLength(1);
});

it("an empty write while the window is below nothing does no harm", async () => {
  const { client, streams } = await openConnection(beginAnswer);
  client.greet().send(headersFrame(1));
  await client.reached();
  streams[0]?.write(Buffer.alloc(1000));
  await client.reached();
  client.send(windowSetting(0));
  await client.reached();
  streams[0]?.write(Buffer.alloc(0));
  streams[0]?.end();
  await client.reached();
  expect(client.isAnswered(1)).toBe(true);
  expect(client.of(Type.data, 1).map(({ payload }) => payload.length)).toEqual([1000, 0, 0]);
});

it("a stream that depends on itself is refused", async () => {
  const { client } = await openConnection();
  client.greet().send(headersFrame(1), frame(Type.priority, 0, 3, Buffer.from([0, 0, 0, 3, 9])));
  await client.reached();
  expect(client.resetCode(3)).toBe(protocolError);
});
