import type { Timestamp } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, type HandlerContext } from "@connectrpc/connect";
import type { Logger } from "pino";
import { KeyVerifier, type SyncRequest, type SyncResponse } from "#gen/claviger/v1/key_verifier_pb.js";
import { ClavigerError } from "../../keys/errors.ts";
import { redactSecrets } from "../../keys/secret.ts";
import type { Agent } from "../../revocation/child-lease.ts";
import type { Clocks, Timers } from "../../system/clocks.ts";
import { type Call, callOf } from "../call.ts";
import type { CallLog } from "../call-log.ts";
import { readAbout } from "../codec/encode-verification.ts";
import type { AgentStatus } from "../codec/nodes-to-proto.ts";
import { presentError, toConnectError } from "../errors.ts";
import { FairShares } from "../fair-shares.ts";
import type { Gate } from "../gate.ts";
import { askerOf } from "../key-verifier.ts";
import { Outgoing } from "./outgoing.ts";
import { type SyncParts, SyncSession } from "./sync-session.ts";
import { SyncTurns } from "./sync-turns.ts";

export interface SyncStreamsOptions extends SyncParts {
  readonly gate: Gate;
  readonly callLog: CallLog;
  readonly log: Logger;
  readonly clocks: Clocks;
  readonly timers: Timers;
  /** Streams open at once. Beyond it, each key has a fair share: a further stream displaces one of the key with most. */
  readonly mostStreams: number;
  /** Messages of one stream that wait to be read; beyond it the stream is ended. */
  readonly mostWaiting: number;
  /** Milliseconds of one turn of the event loop in which messages are handled; those beyond wait for a later turn. */
  readonly mostTurnMs: number;
  /** Milliseconds that verifiers have to give their leases back when the server stops. */
  readonly closeMs: number;
}

/** The client at the other end of a stream. */
export interface SyncPeer {
  /** Says it after everything before. */
  send(message: SyncResponse): void;
  /** Ends the stream, after everything that was sent; twice is fine. */
  end(error?: ConnectError): void;
}

/** A stream that was taken in. */
export interface OpenSync {
  /** Whether a message may be handled now. If not, `work` is called once, when one may. */
  turn(work: () => void): boolean;
  /** For each message, in order. */
  handle(request: SyncRequest): void;
  /** There are no more: once what was asked is answered, the stream is ended. */
  finish(): void;
  /** The stream is gone. */
  close(): void;
}

interface Stream {
  readonly session: SyncSession;
  readonly peer: SyncPeer;
  readonly openedMs: number;
}

const METHOD = `${KeyVerifier.typeName}/${KeyVerifier.method.sync.name}`;
/** How often it is looked whether the leases were given back. */
const LOOK_MS = 10;

/** The streams of verifiers inside agents that are open on this process. */
export class SyncStreams {
  readonly path = `/${METHOD}`;
  readonly #options: SyncStreamsOptions;
  /** By the key that was called with. */
  readonly #streams = new FairShares<Stream>();
  readonly #turns: SyncTurns;
  #isClosing = false;

  constructor(options: SyncStreamsOptions) {
    this.#options = options;
    const { clocks, mostTurnMs } = options;
    this.#turns = new SyncTurns({ monotonicMs: () => clocks.monotonicMs(), mostTurnMs });
  }

  get size(): number {
    return this.#streams.size;
  }

  /** The agents that are attached, longest attached first. */
  agents(): AgentStatus[] {
    const nowMs = this.#options.clocks.monotonicMs();
    return Array.from(this.#streams.members(), ({ session, openedMs }) => {
      return { ...session.agent, attachedMs: Math.round(nowMs - openedMs) };
    });
  }

  /** Notes the call; returns its id for the answer's `x-request-id`. */
  enter(call: Call, askedId: string | null): string {
    return this.#options.gate.enter(call, askedId);
  }

  /** Finds out who calls; undefined if that was known from memory. Throws or rejects with a ConnectError, logged. */
  admit(call: Call, authorization: string | null): Promise<void> | undefined {
    return this.#options.gate.admit({ method: METHOD, call, authorization });
  }

  /** Takes in a stream whose caller was admitted, in the turn in which it is accepted. Throws a ConnectError. */
  open(call: Call, authorization: string | null, peer: SyncPeer): OpenSync {
    const { mostStreams, log } = this.#options;
    if (this.#isClosing) throw toConnectError(shuttingDown());
    const asker = askerOf(call, "sync");
    if (this.#streams.size >= mostStreams) this.#makeRoomFor(asker.callerId);
    const session = new SyncSession({
      ...this.#options,
      ...{ asker, agent: agentOf(call) },
      admit: () => this.admit(call, authorization),
      credentialEnd: createCredentialEnd(call),
      send: (message) => peer.send(message),
      end: (error) => peer.end(error),
      present: (error) => presentError(error, log, call.requestId),
    });
    const stream = { session, peer, openedMs: this.#options.clocks.monotonicMs() };
    this.#streams.add(asker.callerId, stream);
    return {
      turn: (work) => this.#turns.take(asker.callerId, work),
      handle: (request) => session.handle(request),
      finish: () => session.finish(),
      close: () => {
        this.#streams.delete(stream);
        session.close();
      },
    };
  }

  #makeRoomFor(callerId: string): void {
    const { mostStreams } = this.#options;
    const displaced = this.#streams.displacedFor(callerId);
    if (displaced === undefined) throw toConnectError(tooMany(mostStreams));
    // Also where its client has stopped reading, and the end of the stream would take a while to be seen.
    this.#streams.delete(displaced);
    displaced.peer.end(toConnectError(displacedByOthers(mostStreams)));
  }

  /** Says of a stream whose client reads too slowly why it ends. */
  unread(): ConnectError {
    return toConnectError(unread(this.#options.mostWaiting));
  }

  /** The stream is over; each leaves one line in the log. */
  ended(call: Call, error: ConnectError | undefined): void {
    const { callLog } = this.#options;
    if (error === undefined) callLog.answered(METHOD, call, undefined);
    else callLog.refused(METHOD, call, error);
  }

  /** `claviger.v1.KeyVerifier/Sync` as Connect's router has it, behind the gate. */
  async *serve(requests: AsyncIterable<SyncRequest>, context: HandlerContext): AsyncGenerator<SyncResponse> {
    const outgoing = new Outgoing<SyncResponse>(this.#options.mostWaiting, () => this.unread());
    const stream = this.open(callOf(context.values), context.requestHeader.get("authorization"), {
      send: (message) => outgoing.push(message),
      end: (error) => outgoing.end(error),
    });
    const { signal } = context;
    signal.addEventListener("abort", () => outgoing.end(ConnectError.from(signal.reason, Code.Canceled)));
    void read(requests, stream, outgoing).catch((error: unknown) => {
      outgoing.end(presentError(error, this.#options.log, callOf(context.values).requestId));
    });
    try {
      yield* outgoing;
    } finally {
      stream.close();
      outgoing.end();
    }
  }

  /** Has the leases given back, and ends the streams. */
  async close(): Promise<void> {
    const { clocks, timers, closeMs } = this.#options;
    this.#isClosing = true;
    for (const { session } of this.#streams.members()) session.sayClosing();
    const endMs = clocks.monotonicMs() + closeMs;
    while (this.#streams.size > 0 && clocks.monotonicMs() < endMs) {
      await new Promise<void>((done) => timers.after(LOOK_MS, done));
    }
    for (const { peer } of this.#streams.members()) peer.end(toConnectError(shuttingDown()));
  }
}

async function read(
  requests: AsyncIterable<SyncRequest>,
  stream: OpenSync,
  outgoing: Outgoing<SyncResponse>,
): Promise<void> {
  for await (const request of requests) {
    await turnOf(stream);
    stream.handle(request);
    await outgoing.hasRoom();
  }
  stream.finish();
}

function turnOf(stream: OpenSync): Promise<void> | undefined {
  const { promise, resolve } = Promise.withResolvers<void>();
  return stream.turn(resolve) ? undefined : promise;
}

/** Every renewal of a lease asks, and the answer is decoded once for each time that the caller's secret was read. */
function createCredentialEnd(call: Call): () => Timestamp | undefined {
  let known: { readonly about: string; readonly end: Timestamp | undefined } | undefined;
  return () => {
    const { caller } = call;
    if (caller.kind !== "service" || caller.about === undefined) return undefined;
    if (known?.about !== caller.about) known = { about: caller.about, end: readAbout(caller.about).secretExpireTime };
    return known.end;
  };
}

function agentOf({ caller }: Call): Agent {
  const { address } = caller;
  const keyId = caller.kind === "service" ? caller.keyId : "";
  return { keyId, owner: "owner" in caller ? redactSecrets(caller.owner) : "", address };
}

function shuttingDown(): ClavigerError {
  return new ClavigerError("SHUTTING_DOWN", "the server is stopping. Open a stream on another one");
}

function tooMany(most: number): ClavigerError {
  return new ClavigerError("OVERLOADED", `${most} streams are open already. Open one on another node`, {
    metadata: { limit: String(most) },
  });
}

function displacedByOthers(most: number): ClavigerError {
  const message = `${most} streams are open, and this key has more than its share. Open the stream on another node`;
  return new ClavigerError("OVERLOADED", message, { metadata: { limit: String(most) } });
}

function unread(most: number): ClavigerError {
  return new ClavigerError("STREAM_UNREAD", `${most} messages wait to be read. Read faster, and open another stream`, {
    metadata: { limit: String(most) },
  });
}
