import { create } from "@bufbuild/protobuf";
import type { Interceptor } from "@connectrpc/connect";
import { createWritableIterable } from "@connectrpc/connect/protocol";
import { createGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";
import { type SyncRequest, SyncRequestSchema } from "#gen/claviger/v1/key_verifier_pb.js";
import type { Timers } from "../../system/clocks.ts";
import { LONGEST_MESSAGE_BYTES, type NodeOptions } from "./any-server.ts";
import { letProcessEnd } from "./idle-sessions.ts";
import type { SyncChannel, SyncListener } from "./sync-link.ts";
import { RAW_SYNC, readSyncResponse } from "./sync-response.ts";

export interface OpenChannelOptions {
  readonly interceptors: Interceptor[];
  readonly nodeOptions: NodeOptions | undefined;
  readonly timers: Timers;
}

/** Milliseconds in which the server can end a stream that was closed here. */
const LINGER_MS = 500;
/** Limit on unread messages: a server that never reads would fill the memory. */
const MAX_UNREAD = 10_000;

/** Opens a stream on its own connection, so that a dead connection is dropped together with its stream. */
export function openChannel(url: string, listener: SyncListener, options: OpenChannelOptions): SyncChannel {
  const { interceptors, nodeOptions, timers } = options;
  const hangUp = new AbortController();
  // Node passes the signal to the socket: `abort()` of connect-node 2.2 does not end a connection that is still opening.
  const signalled: NodeOptions & { signal: AbortSignal } = { ...nodeOptions, signal: hangUp.signal };
  const sessionManager = new Http2SessionManager(url, undefined, signalled);
  const transport = createGrpcTransport({
    baseUrl: url,
    sessionManager: letProcessEnd(sessionManager),
    interceptors,
    readMaxBytes: LONGEST_MESSAGE_BYTES,
  });
  const outgoing = createWritableIterable<SyncRequest>();
  let unread = 0;
  const finish = () => {
    hangUp.abort();
    sessionManager.abort();
  };

  async function listen(): Promise<void> {
    try {
      const { message } = await transport.stream(RAW_SYNC, hangUp.signal, undefined, undefined, outgoing);
      for await (const response of message) listener.onMessage(readSyncResponse(response));
      listener.onBroken(new Error("the server ended the stream"));
    } catch (error) {
      listener.onBroken(error);
    } finally {
      finish();
    }
  }

  async function send(message: SyncRequest): Promise<void> {
    unread += 1;
    if (unread > MAX_UNREAD) {
      listener.onBroken(new Error("the server does not read its messages"));
      return;
    }
    try {
      await outgoing.write(message);
    } catch {
      // The stream is gone; the listener gets the reason.
    }
    unread -= 1;
  }

  void listen();
  return {
    send: (message) => void send(create(SyncRequestSchema, message)),
    close() {
      outgoing.close();
      timers.after(LINGER_MS, finish);
    },
  };
}
