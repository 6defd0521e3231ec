import { create } from "@bufbuild/protobuf";
import { createClient, type Interceptor } from "@connectrpc/connect";
import { createWritableIterable } from "@connectrpc/connect/protocol";
import { createGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";
import { KeyVerifier, type SyncRequest, SyncRequestSchema } from "#gen/claviger/v1/key_verifier_pb.js";
import type { Timers } from "../verify/clocks.ts";
import type { NodeOptions } from "./any-server.ts";
import type { SyncChannel, SyncListener } from "./sync-link.ts";

export interface OpenChannelOptions {
  readonly interceptors: Interceptor[];
  readonly nodeOptions: NodeOptions | undefined;
  readonly timers: Timers;
}

/** How long a server has to end a stream that was ended here, in milliseconds. */
const LINGER_MS = 500;

/** Opens a stream on a connection of its own: a connection that went dead unnoticed goes with it. */
export function openChannel(url: string, listener: SyncListener, options: OpenChannelOptions): SyncChannel {
  const { interceptors, nodeOptions, timers } = options;
  const sessionManager = new Http2SessionManager(url, undefined, nodeOptions);
  const transport = createGrpcTransport({ baseUrl: url, sessionManager, interceptors });
  const outgoing = createWritableIterable<SyncRequest>();
  const hangUp = new AbortController();
  const finish = () => {
    hangUp.abort();
    sessionManager.abort();
  };

  async function listen(): Promise<void> {
    try {
      const responses = createClient(KeyVerifier, transport).sync(outgoing, { signal: hangUp.signal });
      for await (const response of responses) listener.onMessage(response);
      listener.onBroken(new Error("the server has ended the stream"));
    } catch (error) {
      listener.onBroken(error);
    } finally {
      finish();
    }
  }

  void listen();
  return {
    // It rejects once the stream is gone, which the listener hears of.
    send: (message) => void outgoing.write(create(SyncRequestSchema, message)).catch(() => undefined),
    close() {
      outgoing.close();
      timers.after(LINGER_MS, finish);
    },
  };
}
