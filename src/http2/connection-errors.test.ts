import { expect, it, test } from "vitest";
import { answerAtOnce, beginAnswer, openConnection } from "../../testkit/http2-connection.ts";
import { frame } from "../../testkit/http2-frames.ts";
import {
  CALL,
  dataFrame,
  headersFrame,
  pingFrame,
  resetFrame,
  settingsFrame,
  windowUpdateFrame,
} from "../../testkit/raw-http2.ts";
import { ErrorCode, PREFACE, Type } from "./frames.ts";

const { cancel, flowControlError, frameSizeError, protocolError, streamClosed } = ErrorCode;
/** A request whose body has one byte. */
const SHORT = { fields: { ...CALL, "content-length": "1" } };

test.each<[string, number, Buffer[]]>([
  ["a block is interrupted", protocolError, [frame(Type.headers, 0, 1), pingFrame()]],
  ["another stream goes on with a block", protocolError, [frame(Type.headers, 0, 1), frame(Type.continuation, 4, 3)]],
  ["CONTINUATION comes alone", protocolError, [frame(Type.continuation, 4, 1)]],
  ["a client takes a number of the server's", protocolError, [headersFrame(2)]],
  ["a client pushes", protocolError, [frame(Type.pushPromise, 4, 1, Buffer.alloc(4))]],
  ["DATA belongs to no stream", protocolError, [dataFrame(0, 1)]],
  ["DATA comes on a stream that was not opened", protocolError, [dataFrame(1, 1)]],
  ["RST_STREAM comes on a stream that was not opened", protocolError, [resetFrame(1, cancel)]],
  ["the window of the connection grows by nothing", protocolError, [windowUpdateFrame(0, 0)]],
  ["padding is longer than its frame", protocolError, [headersFrame(1), frame(Type.data, 8, 1, Buffer.from([9, 0]))]],
  ["SETTINGS comes on a stream", protocolError, [frame(Type.settings, 0, 1)]],
  ["GOAWAY comes on a stream", protocolError, [frame(Type.goaway, 0, 1, Buffer.alloc(8))]],
  ["SETTINGS has half a setting", frameSizeError, [frame(Type.settings, 0, 0, Buffer.alloc(3))]],
  ["an acknowledgement of SETTINGS has some", frameSizeError, [frame(Type.settings, 1, 0, Buffer.alloc(6))]],
  ["PING is too short", frameSizeError, [frame(Type.ping, 0, 0, Buffer.alloc(7))]],
  ["a frame is too long", frameSizeError, [dataFrame(1, 16_385)]],
  ["the window of the connection grows too large", flowControlError, [windowUpdateFrame(0, 2 ** 31 - 1)]],
  ["the windows of streams begin too large", flowControlError, [settingsFrame([[4, 2 ** 31]])]],
  ["DATA follows the end of a request", streamClosed, [headersFrame(1, { isLast: true }), dataFrame(1, 1)]],
  ["HEADERS follow the end of a request", streamClosed, [headersFrame(1, { isLast: true }), headersFrame(1)]],
])("a connection ends with the code of RFC 9113 where %s", async (_, code, frames) => {
  const { client } = await openConnection(beginAnswer);
  client.greet().send(...frames);
  await client.closed();
  expect(client.goaways).toMatchObject([{ code }]);
});

test.each<[string, number, Buffer[]]>([
  ["has more bytes than its content-length", protocolError, [headersFrame(1, SHORT), dataFrame(1, 2)]],
  ["has fewer", protocolError, [headersFrame(1, SHORT), dataFrame(1, 0, { isLast: true })]],
  [
    "goes beyond its window",
    flowControlError,
    [headersFrame(1), ...Array.from({ length: 5 }, () => dataFrame(1, 16_384))],
  ],
  ["depends on itself", protocolError, [headersFrame(1), frame(Type.priority, 0, 1, Buffer.from([0, 0, 0, 1, 9]))]],
  ["has HEADERS again that do not end it", protocolError, [headersFrame(1), headersFrame(1)]],
])("a stream is reset that %s, and its connection serves on", async (_, code, frames) => {
  const { client } = await openConnection((stream) => {
    stream.pause();
    beginAnswer(stream);
  });
  client.greet().send(...frames);
  await client.reached();
  expect([client.resetCode(1), client.goaways]).toEqual([code, []]);
});

it("a client whose first frame is not SETTINGS is refused", async () => {
  const { client, streams } = await openConnection(answerAtOnce);
  client.send(PREFACE, headersFrame(1, { isLast: true }));
  await client.closed();
  expect(streams).toEqual([]);
  expect(client.goaways).toMatchObject([{ code: protocolError, message: "the first frame is not SETTINGS" }]);
});
