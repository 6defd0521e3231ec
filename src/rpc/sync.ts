import type { HandlerContext } from "@connectrpc/connect";
import type { Logger } from "pino";
import { KeyVerifier, type SyncRequest, type SyncResponse } from "#gen/claviger/v1/key_verifier_pb.js";
import { ClavigerError } from "../keys/errors.ts";
import type { Clocks, Timers } from "../verify/clocks.ts";
import { type Call, callOf } from "./call.ts";
import { presentError, toConnectError } from "./errors.ts";
import type { Gate } from "./gate.ts";
import { askerOf } from "./key-verifier.ts";
import { Outgoing } from "./outgoing.ts";
import { type SyncParts, SyncSession } from "./sync-session.ts";

export interface SyncStreamsOptions extends SyncParts {
  readonly gate: Gate;
  readonly log: Logger;
  readonly clocks: Clocks;
  readonly timers: Timers;
  /** Streams open at once; further ones are refused. */
  readonly mostStreams: number;
  /** Messages of one stream that wait to be read; beyond it the stream is ended. */
  readonly mostWaiting: number;
  /** Milliseconds that verifiers have to give their leases back when the server stops. */
  readonly closeMs: number;
}

interface Stream {
  readonly session: SyncSession;
  readonly outgoing: Outgoing<SyncResponse>;
}

const METHOD = `${KeyVerifier.typeName}/${KeyVerifier.method.sync.name}`;
/** How often it is looked whether the leases were given back. */
const LOOK_MS = 10;

/** The streams of verifiers inside agents that are open on this process. */
export class SyncStreams {
  readonly #options: SyncStreamsOptions;
  readonly #streams = new Set<Stream>();
  #isClosing = false;

  constructor(options: SyncStreamsOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#streams.size;
  }

  /** `claviger.v1.KeyVerifier/Sync`, behind the gate. */
  async *serve(requests: AsyncIterable<SyncRequest>, context: HandlerContext): AsyncGenerator<SyncResponse> {
    const { mostStreams, mostWaiting } = this.#options;
    if (this.#isClosing) throw shuttingDown();
    if (this.#streams.size >= mostStreams) throw tooMany(mostStreams);
    const outgoing = new Outgoing<SyncResponse>(mostWaiting, () => toConnectError(unread(mostWaiting)));
    const session = this.#begin(callOf(context.values), context.requestHeader.get("authorization"), outgoing);
    const stream = { session, outgoing };
    this.#streams.add(stream);
    void this.#read(requests, stream);
    try {
      yield* outgoing;
    } finally {
      this.#streams.delete(stream);
      session.close();
      outgoing.end();
    }
  }

  /** Has the leases given back, and ends the streams. */
  async close(): Promise<void> {
    const { clocks, timers, closeMs } = this.#options;
    this.#isClosing = true;
    for (const { session } of this.#streams) session.sayClosing();
    const endMs = clocks.monotonicMs() + closeMs;
    while (this.#streams.size > 0 && clocks.monotonicMs() < endMs) {
      await new Promise<void>((done) => timers.after(LOOK_MS, done));
    }
    for (const { outgoing } of this.#streams) outgoing.end(toConnectError(shuttingDown()));
  }

  #begin(call: Call, authorization: string | null, outgoing: Outgoing<SyncResponse>): SyncSession {
    const { gate, log } = this.#options;
    const arriving = { method: METHOD, call, authorization };
    return new SyncSession({
      ...this.#options,
      asker: askerOf(call, "sync"),
      admit: () => (gate.admitCached(arriving) ? undefined : gate.admit(arriving)),
      send: (message) => outgoing.push(message),
      end: (error) => outgoing.end(error),
      present: (error) => presentError(error, log, call.requestId),
    });
  }

  async #read(requests: AsyncIterable<SyncRequest>, { session, outgoing }: Stream): Promise<void> {
    try {
      for await (const request of requests) {
        session.handle(request);
        await outgoing.hasRoom();
      }
      outgoing.end();
    } catch {
      // Whoever broke off hears nothing any more.
      outgoing.end();
    }
  }
}

function shuttingDown(): ClavigerError {
  return new ClavigerError("SHUTTING_DOWN", "the server is stopping. Open a stream on another one");
}

function tooMany(most: number): ClavigerError {
  return new ClavigerError("OVERLOADED", `${most} streams are open already. Open one on another node`, {
    metadata: { limit: String(most) },
  });
}

function unread(most: number): ClavigerError {
  return new ClavigerError("STREAM_UNREAD", `${most} messages wait to be read. Read faster, and open another stream`, {
    metadata: { limit: String(most) },
  });
}
