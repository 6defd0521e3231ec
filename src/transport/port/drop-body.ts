import { constants, type ServerHttp2Stream } from "node:http2";
import type { BodyBudget } from "../overload/body-budget.ts";

/** Bytes that are dropped as they come. */
const DROPPED_BYTES = 32 * 1024;
/**
 * A client may have sent two windows when it is held: Node (26) keeps one of a body that the router has begun to read.
 */
const HELD_BYTES = 64 * 1024;

/**
 * Drops the rest of a body that nothing reads any more, once the answer is written. If a rest waits to be read, Node
 * (26) keeps the stream for good, and the connection after it is closed. A long body is dropped only in part: flow
 * control then holds its client until the client is asked to stop, and the bytes sent until then do not count as a
 * flood.
 */
export function dropBody(stream: ServerHttp2Stream, budget: BodyBudget): void {
  if (stream.readableEnded) return;
  const connection = stream.session ?? stream;
  let left = DROPPED_BYTES;
  const drop = (chunk: Buffer) => {
    budget.piece(connection, chunk.length, 0);
    const isFirst = left > 0;
    left -= chunk.length;
    if (left > 0) return;
    stream.pause();
    if (isFirst) budget.credit(connection, HELD_BYTES);
  };
  stream.removeAllListeners("data").on("data", drop).resume();
  stopSending(stream);
}

/**
 * Tells a client that has its whole answer, and has sent nothing for a second, to stop sending (RFC 9113, 8.1). At once
 * would be too soon: nghttp2 drops the frames of a stream that are still queued when its reset is submitted. And a stream
 * whose answer waits for its client must never be destroyed: when the client makes room, nghttp2 asks Node (26.10) for
 * the rest, gets nothing, and makes empty frames for ever, in one turn, until the memory is full. `SessionGuard` resets
 * such a stream when it has waited for too long.
 */
export function stopSending(stream: ServerHttp2Stream): void {
  if (!stream.writableFinished) {
    stream.once("finish", () => stopSending(stream));
    return;
  }
  stream.setTimeout(1000, () => {
    stream.close(constants.NGHTTP2_NO_ERROR);
    // Node (26) would wait for the end of a body that was read in part, for good, and a drain for that.
    setImmediate(() => stream.destroy());
  });
}
