import { expect, it } from "vitest";
import { answerWhole, openConnection } from "../../testkit/http2-connection.ts";
import { dataFrame, headersFrame, pingFrame } from "../../testkit/raw-http2.ts";
import { ErrorCode, Flag, LARGEST_STREAM_ID, Type } from "./frames.ts";

/** A connection with one open stream, which has begun to drain. */
async function drainOne() {
  const opened = await openConnection(answerWhole());
  const { client, connection } = opened;
  client.greet().send(headersFrame(1));
  await client.reached();
  connection.drain();
  await client.reached();
  const ask = client.of(Type.ping).find(({ flags }) => (flags & Flag.ack) === 0);
  const answerPing = () => client.send(pingFrame(ask?.payload.toString(), { isAck: true }));
  return { ...opened, answerPing };
}

it("the first GOAWAY of a drain names no stream, and a PING comes with it", async () => {
  const { client, connection } = await drainOne();
  expect(client.goaways).toEqual([{ lastId: LARGEST_STREAM_ID, code: ErrorCode.noError, message: "" }]);
  connection.drain();
  await client.reached();
  expect(client.goaways).toHaveLength(1);
});

it("a stream that is opened between both GOAWAY is served, and the second names it", async () => {
  const { client, answerPing } = await drainOne();
  client.send(headersFrame(3, { isLast: true }));
  answerPing();
  await client.reached();
  expect(client.isAnswered(3)).toBe(true);
  expect(client.goaways[1]).toEqual({ lastId: 3, code: ErrorCode.noError, message: "" });
});

it("a stream that is opened after the second GOAWAY is refused, and the open ones are served to the end", async () => {
  const { client, streams, answerPing } = await drainOne();
  answerPing().send(headersFrame(3));
  await client.reached();
  expect([client.resetCode(3), streams.length, client.isClosed]).toEqual([ErrorCode.refusedStream, 1, false]);
  client.send(dataFrame(1, 1, { isLast: true }));
  await client.closed();
  expect(client.isAnswered(1)).toBe(true);
});

it("a client that does not answer the PING is drained all the same, and a connection without streams ends at once", async () => {
  const { client, connection } = await drainOne();
  client.send(dataFrame(1, 1, { isLast: true }));
  await client.reached();
  expect(client.isClosed).toBe(false);
  connection.finishDrain();
  await client.closed();
  expect(client.goaways.map(({ lastId }) => lastId)).toEqual([LARGEST_STREAM_ID, 1]);
});
