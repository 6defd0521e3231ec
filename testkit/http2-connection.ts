import { once } from "node:events";
import * as net from "node:net";
import { onTestFinished } from "vitest";
import { Http2Connection, type Http2Limits } from "../src/http2/connection.ts";
import { encodeHeaders, encodeStatus } from "../src/http2/hpack/encoder.ts";
import { Slabs } from "../src/http2/output.ts";
import type { Http2Stream } from "../src/http2/stream.ts";
import { TEST_PORT_LIMITS } from "./port-limits.ts";
import { RawHttp2 } from "./raw-http2.ts";

const HEAD = encodeStatus(200);
const END = encodeHeaders([["grpc-status", "0"]]);

export interface OpenedConnection {
  readonly connection: Http2Connection;
  readonly client: RawHttp2;
  /** The streams that came. */
  readonly streams: readonly Http2Stream[];
  readonly defects: readonly unknown[];
  /** Lets time pass for the budgets. */
  readonly pass: (ms: number) => void;
}

/** A connection without a port around it, whose clock stands still, and a client of it that has sent nothing. */
export async function openConnection(
  serve: (stream: Http2Stream) => void = answerAtOnce,
  limits: Partial<Http2Limits> = {},
): Promise<OpenedConnection> {
  let nowMs = 0;
  const streams: Http2Stream[] = [];
  const defects: unknown[] = [];
  const opened = Promise.withResolvers<Http2Connection>();
  const server = net.createServer({ noDelay: true }, (socket) => {
    socket.on("error", () => undefined);
    opened.resolve(
      new Http2Connection(socket, {
        limits: { ...TEST_PORT_LIMITS, ...limits },
        slabs: new Slabs(),
        monotonicMs: () => nowMs,
        onStream(stream) {
          streams.push(stream);
          serve(stream);
        },
        onClosed: () => undefined,
        flushSoon: (connection) => void setImmediate(() => connection.flush()),
        onDefect: (error) => void defects.push(error),
      }),
    );
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  const client = new RawHttp2((server.address() as net.AddressInfo).port);
  const connection = await opened.promise;
  onTestFinished(() => {
    client.socket.destroy();
    connection.socket.destroy();
    server.close();
  });
  const pass = (ms: number) => {
    nowMs += ms;
  };
  return { connection, client, streams, defects, pass };
}

/** Answers with one message as soon as the head has come. */
export function answerAtOnce(stream: Http2Stream): void {
  stream.answer(HEAD, Buffer.from("\0\0\0\0\0", "latin1"), END);
}

/** Answers with so many bytes when the request is whole. */
export function answerWhole(bytes = 5): (stream: Http2Stream) => void {
  return (stream) => {
    stream.receiver = {
      data(_bytes, _from, _to, isLast) {
        if (isLast) stream.answer(HEAD, Buffer.alloc(bytes), END);
      },
      drained: () => undefined,
      closed: () => undefined,
    };
  };
}

/** Begins an answer to which messages are written later. */
export function beginAnswer(stream: Http2Stream): void {
  stream.respond(HEAD, false);
}
