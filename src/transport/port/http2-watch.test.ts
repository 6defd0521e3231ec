import { describe, expect, it } from "vitest";
import { answerWhole, openConnection } from "../../../testkit/http2-connection.ts";
import { frame } from "../../../testkit/http2-frames.ts";
import { TEST_PORT_LIMITS } from "../../../testkit/port-limits.ts";
import { headersFrame, type RawHttp2, windowSetting } from "../../../testkit/raw-http2.ts";
import { ErrorCode, PREFACE, Type } from "../../http2/frames.ts";
import { Http2Watch, type WatchLimits } from "./http2-watch.ts";
import { LastingCalls } from "./lasting-calls.ts";

/** A connection whose looks are the test's: ten are a second. */
async function watchOne({ bytes = 5, ...changed }: Partial<WatchLimits> & { readonly bytes?: number } = {}) {
  const limits = { ...TEST_PORT_LIMITS, headersTimeoutMs: 500, idleTimeoutMs: 500, unreadAnswerMs: 500, ...changed };
  const opened = await openConnection(answerWhole(bytes));
  const calls = { count: 0, lasting: new LastingCalls(limits.mostOpenCalls) };
  const watch = new Http2Watch(opened.connection, "a", calls, limits);
  const look = (times: number) => {
    for (let at = 0; at < times; at++) watch.look();
  };
  return { ...opened, watch, look };
}

function askMany(client: RawHttp2, from: number, count: number): Promise<void> {
  client.send(...Array.from({ length: count }, (_, at) => headersFrame(from + 2 * at, { isLast: true })));
  return client.reached();
}

describe("a connection on which nothing is open", () => {
  it("is ended without blame after idleTimeoutMs, counted from its last call", async () => {
    const { client, look } = await watchOne();
    client.greet();
    await client.reached();
    look(5);
    await askMany(client, 1, 1);
    look(6);
    await client.reached();
    expect(client.isClosed).toBe(false);
    look(1);
    await client.closed();
    expect(client.goaways).toEqual([{ lastId: 1, code: ErrorCode.noError, message: "" }]);
  });

  it("is kept while a call is open", async () => {
    const { client, look } = await watchOne();
    client.greet().send(headersFrame(1));
    await client.reached();
    look(100);
    await client.reached();
    expect([client.isClosed, client.goaways]).toEqual([false, []]);
  });
});

it.each<[string, Buffer]>([
  ["its preface", PREFACE.subarray(0, 10)],
  ["a header block", Buffer.concat([PREFACE, frame(Type.settings, 0, 0), frame(Type.headers, 0, 1)])],
])("a client that stops within %s is cut off after headersTimeoutMs", async (_, bytes) => {
  const { client, connection, look } = await watchOne();
  client.send(bytes);
  await expect.poll(() => connection.socket.bytesRead).toBe(bytes.length);
  look(5);
  expect(connection.isEnded).toBe(false);
  look(1);
  await client.closed();
  expect([client.goaways[0]?.code, connection.isCutOff]).toEqual([ErrorCode.enhanceYourCalm, true]);
  expect(client.goaways[0]?.message).toContain("did not come in time");
});

it("an answer that no window lets out is dropped after unreadAnswerMs, and its connection serves on", async () => {
  const { client, look } = await watchOne();
  client.greet(windowSetting(0));
  await askMany(client, 1, 1);
  look(5);
  await client.reached();
  expect(client.resetCode(1)).toBeUndefined();
  look(1);
  await client.reached();
  expect([client.resetCode(1), client.goaways]).toEqual([ErrorCode.cancel, []]);
});

it("many answers that are not taken are dropped after deafMs, and then the connection if they come again", async () => {
  const { client, look } = await watchOne({ mostUnreadAnswers: 4, deafMs: 200, unreadAnswerMs: 5000 });
  client.greet(windowSetting(0));
  await askMany(client, 1, 5);
  look(4);
  await client.reached();
  expect([client.resetCode(1), client.resetCode(9), client.goaways]).toEqual([ErrorCode.cancel, ErrorCode.cancel, []]);
  await askMany(client, 11, 5);
  look(4);
  await client.closed();
  expect(client.goaways).toMatchObject([{ code: ErrorCode.enhanceYourCalm }]);
  expect(client.goaways[0]?.message).toContain("not read");
});

it("a client that does not read its socket has its answer dropped, and then is cut off", async () => {
  const { client, connection, streams, look } = await watchOne({ bytes: 64 * 1024 * 1024 });
  const widest = 2 ** 31 - 1;
  client.greet(windowSetting(widest)).send(frame(Type.windowUpdate, 0, 0, Buffer.from([0x7f, 0, 0, 0])));
  await client.reached();
  client.socket.pause();
  client.send(headersFrame(1, { isLast: true }));
  await expect.poll(() => connection.isBlocked).toBe(true);
  let written = -1;
  await expect
    .poll(() => {
      const before = written;
      written = connection.socket.bytesWritten;
      return written - before;
    })
    .toBe(0);
  look(6);
  expect([streams[0]?.isClosed, connection.isEnded]).toEqual([true, false]);
  look(2);
  expect([connection.isCutOff, connection.socket.destroyed]).toEqual([true, false]);
  look(2);
  expect(connection.socket.destroyed).toBe(true);
});

it("a drain goes on though its client answers nothing, and ends with the server hanging up", async () => {
  const { client, connection, watch } = await watchOne();
  client.greet();
  await client.reached();
  connection.drain();
  for (let look = 0; look < 11; look++) watch.lookWhileDraining();
  expect(connection.isEnded).toBe(true);
  for (let look = 0; look < 10; look++) watch.lookWhileDraining();
  expect(connection.socket.destroyed).toBe(true);
});
