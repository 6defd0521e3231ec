import { once } from "node:events";
import { connect } from "node:http2";
import { expect, it, onTestFinished } from "vitest";
import { answerAtOnce, beginAnswer, openConnection } from "../../testkit/http2-connection.ts";
import { CALL, headersFrame, settingsFrame, windowSetting, windowUpdateFrame } from "../../testkit/raw-http2.ts";
import { ErrorCode, Setting, Type } from "./frames.ts";
import type { Http2Stream } from "./stream.ts";

/** A stream without a window, whose answer has begun, and the events of its receiver. */
async function openNarrow(drained: (stream: Http2Stream) => void) {
  const opened = await openConnection((stream) => {
    stream.receiver = { data: () => undefined, drained: () => drained(stream), closed: () => undefined };
    beginAnswer(stream);
  });
  const { client, streams } = opened;
  client.greet(windowSetting(0)).send(headersFrame(1, { isLast: true }));
  await client.reached();
  const [stream] = streams;
  if (stream === undefined) throw new Error("no stream came; mend the test");
  return { ...opened, stream };
}

it("a receiver hears that its bytes were sent, however few they were, once for all that waited", async () => {
  let times = 0;
  const { client, stream } = await openNarrow(() => {
    times += 1;
  });
  expect([stream.write(Buffer.alloc(10)), stream.write(Buffer.alloc(20))]).toEqual([true, true]);
  await client.reached();
  expect([times, stream.waitingBytes]).toEqual([0, 30]);
  client.send(windowUpdateFrame(1, 29));
  await client.reached();
  expect([times, stream.waitingBytes]).toEqual([0, 1]);
  client.send(windowUpdateFrame(1, 1));
  await client.reached();
  expect([times, stream.waitingBytes]).toEqual([1, 0]);
});

it("a receiver is not called out of its own write, though all that it writes leaves at once", async () => {
  let isWriting = false;
  const calls: boolean[] = [];
  const { client, stream } = await openNarrow(() => calls.push(isWriting));
  client.send(windowUpdateFrame(1, 60_000));
  await client.reached();
  isWriting = true;
  // Longer than a frame, so that it takes the way of what waits.
  expect(stream.write(Buffer.alloc(50_000))).toBe(true);
  isWriting = false;
  await client.reached();
  expect([calls.filter(Boolean), stream.waitingBytes]).toEqual([[], 0]);
  expect(client.of(Type.data, 1).reduce((sum, { payload }) => sum + payload.length, 0)).toBe(50_000);
});

it("a receiver that throws when there is room again has its stream reset, and its connection serves on", async () => {
  const { client, stream, defects } = await openNarrow(() => {
    throw new Error("a defect");
  });
  stream.write(Buffer.alloc(10));
  client.send(windowUpdateFrame(1, 10));
  await client.reached();
  expect([client.resetCode(1), client.goaways, defects.length]).toEqual([ErrorCode.internalError, [], 1]);
  client.send(headersFrame(3, { isLast: true }));
  await client.reached();
  expect(client.of(Type.headers, 3)).toHaveLength(1);
});

it("streams that wait for the window of the connection take turns, one frame each", async () => {
  const { client, streams } = await openConnection(beginAnswer);
  client.greet(windowSetting(200_000)).send(...[1, 3].map((id) => headersFrame(id, { isLast: true })));
  await client.reached();
  for (const stream of streams) stream.write(Buffer.alloc(100_000));
  await client.reached();
  const before = client.of(Type.data).length;
  client.send(windowUpdateFrame(0, 4 * 16_384));
  await client.reached();
  const later = client.of(Type.data).slice(before);
  expect(later.map(({ streamId, payload }) => [streamId, payload.length])).toEqual([
    [1, 16_384],
    [3, 16_384],
    [1, 16_384],
    [3, 16_384],
  ]);
});

it("the first block after a client has set the size of its table says that none is used, as nghttp2 demands", async () => {
  const { client, connection } = await openConnection(answerAtOnce);
  client.greet(settingsFrame([[Setting.headerTableSize, 0]]));
  client.send(...[1, 3].map((id) => headersFrame(id, { isLast: true })));
  await client.reached();
  const first = (id: number) => client.of(Type.headers, id)[0]?.payload[0];
  expect([first(1), first(3)]).toEqual([0x20, 0x88]);

  const session = connect(`http://127.0.0.1:${connection.socket.localPort}`, { settings: { headerTableSize: 0 } });
  onTestFinished(() => session.destroy());
  await once(session, "localSettings");
  const stream = session.request(CALL).resume();
  const [headers] = await once(stream, "response");
  expect(headers[":status"]).toBe(200);
});

it("the last window of a SETTINGS frame counts, and one below what was sent lets nothing more through", async () => {
  const { client, streams } = await openConnection(beginAnswer);
  client.greet(
    settingsFrame([
      [Setting.initialWindowSize, 0],
      [Setting.initialWindowSize, 10],
    ]),
  );
  client.send(headersFrame(1, { isLast: true }));
  await client.reached();
  streams[0]?.write(Buffer.alloc(30));
  const sentBytes = async () => {
    await client.reached();
    return client.of(Type.data, 1).reduce((sum, { payload }) => sum + payload.length, 0);
  };
  expect(await sentBytes()).toBe(10);
  client.send(windowSetting(4), windowUpdateFrame(1, 6));
  expect(await sentBytes()).toBe(10);
  client.send(windowUpdateFrame(1, 1));
  expect(await sentBytes()).toBe(11);
});
