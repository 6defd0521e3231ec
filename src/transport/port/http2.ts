import type { Socket } from "node:net";
import { Http2Connection, type Http2ConnectionOptions } from "../../http2/connection.ts";
import { ErrorCode } from "../../http2/frames.ts";
import { Slabs } from "../../http2/output.ts";
import type { Http2Stream } from "../../http2/stream.ts";
import { monotonicMs } from "../../system/node.ts";
import type { Connection } from "./connections.ts";
import { Http2Watch, LOOK_MS, type OpenCalls } from "./http2-watch.ts";
import { LastingCalls } from "./lasting-calls.ts";
import type { PortLimits } from "./limits.ts";

export interface Http2ServerOptions {
  readonly streams: (stream: Http2Stream) => void;
  readonly limits: PortLimits;
  readonly onError: (error: Error) => void;
}

/** Calls that may be open before the next look, as a multiple of those that may stay open. */
const MOST_AT_ONCE = 1.25;

/** HTTP/2 by our own layer, on connections that others accept. */
export function createHttp2({ limits, streams, onError }: Http2ServerOptions) {
  const watches = new Set<Http2Watch>();
  const calls: OpenCalls = { count: 0, lasting: new LastingCalls(limits.mostOpenCalls) };
  const flusher = new Flusher();
  let isDraining = false;
  const options: Omit<Http2ConnectionOptions, "onStream"> = {
    limits,
    slabs: new Slabs(),
    monotonicMs,
    flushSoon: (connection) => flusher.add(connection),
    onDefect: (error) =>
      onError(error instanceof Error ? error : new Error("a receiver threw a value that is not an Error")),
    onClosed(stream) {
      calls.count -= 1;
      calls.lasting.delete(stream);
    },
  };
  const sweep = setInterval(() => {
    for (const watch of watches) {
      if (isDraining) watch.lookWhileDraining();
      else watch.look();
    }
    if (isDraining && watches.size === 0) clearInterval(sweep);
  }, LOOK_MS);
  sweep.unref();

  function begin(stream: Http2Stream, watch: Http2Watch): void {
    calls.count += 1;
    if (calls.count > MOST_AT_ONCE * limits.mostOpenCalls) {
      // Seldom the second: once all are noted, a quarter more have to come before it is done again.
      if (calls.lasting.isFull) watch.share(stream);
      else for (const each of watches) each.shareAll();
    }
    if (!stream.isClosed) streams(stream);
  }

  return {
    take(tracked: Connection, socket: Socket): void {
      const onStream = (stream: Http2Stream) => begin(stream, watch);
      const connection = new Http2Connection(socket, { ...options, onStream });
      const watch = new Http2Watch(connection, tracked.address, calls, limits);
      watches.add(watch);
      tracked.activity = {
        get isBusy() {
          return connection.openStreams > 0;
        },
        get calls() {
          return connection.callCount;
        },
      };
      tracked.displace = () => {
        connection.terminate(ErrorCode.noError);
        socket.destroySoon();
      };
      socket.once("close", () => watches.delete(watch));
      socket.resume();
    },
    drain(): void {
      isDraining = true;
      for (const { connection } of watches) connection.drain();
    },
  };
}

/** Flushes, once a turn, the connections that were written to outside of their own events. */
class Flusher {
  #waiting: Http2Connection[] = [];

  add(connection: Http2Connection): void {
    this.#waiting.push(connection);
    if (this.#waiting.length > 1) return;
    setImmediate(() => {
      const waiting = this.#waiting;
      this.#waiting = [];
      for (const each of waiting) each.flush();
    });
  }
}
