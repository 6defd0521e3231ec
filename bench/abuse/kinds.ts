import {
  callHead,
  FLAG,
  frame,
  greeting,
  headerBlock,
  nextStream,
  PREFACE,
  reset,
  TYPE,
  uint32,
} from "../../testkit/http2-frames.ts";

/** A kind of abuse on one connection. */
export interface Kind {
  /** Sent first. */
  readonly begin: () => Buffer;
  /** Sent over and over, piece by piece. Default: nothing more is sent. */
  readonly more?: () => Repeated;
  /** Waits for bytes of the server between pieces, so that its answers do not pile up. */
  readonly isPatient?: boolean;
  /** Does not read what comes. */
  readonly isDeaf?: boolean;
  /** Connections that do so at once. Default 1. */
  readonly connections?: number;
}

export interface Repeated {
  /** Frames in one piece. */
  readonly frames: number;
  readonly next: () => Buffer;
}

export const PATH = "/claviger.v1.KeyVerifier/Verify";
export const HEALTH_PATH = "/grpc.health.v1.Health/Check";
/** An empty gRPC message. */
const NO_MESSAGE = Buffer.alloc(5);
/** As much as Node reads at once. */
const PIECE_BYTES = 64 * 1024;
const STREAMS = 128;
/** Fewer than the answers that nghttp2 lets pile up. */
const UNANSWERED = 900;

/** The frame over and over. */
function same(one: Buffer, frames = Math.ceil(PIECE_BYTES / one.length)): () => Repeated {
  const piece = Buffer.concat(Array.from({ length: frames }, () => one));
  return () => ({ frames, next: () => piece });
}

/** Calls made of that, each on a stream of its own. */
function calls(one: (stream: number) => Buffer, framesEach: number): () => Repeated {
  return () => {
    const stream = nextStream();
    const count = Math.ceil(PIECE_BYTES / one(1).length);
    const next = () => Buffer.concat(Array.from({ length: count }, () => one(stream())));
    return { frames: count * framesEach, next };
  };
}

function ask(stream: number): Buffer {
  return Buffer.concat([callHead(stream, HEALTH_PATH), frame(TYPE.data, FLAG.endStream, stream, NO_MESSAGE)]);
}

function asks(): Buffer {
  const stream = nextStream();
  return Buffer.concat(Array.from({ length: STREAMS }, () => ask(stream())));
}

const oneCall = () => Buffer.concat([greeting(), callHead(1, PATH)]);
const field = () => headerBlock({ [`x-${"n".repeat(60)}`]: "v".repeat(60) });

export const KINDS = {
  "rapid reset": {
    begin: () => greeting(),
    more: calls((stream) => Buffer.concat([callHead(stream, PATH), reset(stream)]), 2),
  },
  "window updates": { begin: () => greeting(), more: same(frame(TYPE.windowUpdate, FLAG.none, 0, uint32(1))) },
  "stream window updates": { begin: oneCall, more: same(frame(TYPE.windowUpdate, FLAG.none, 1, uint32(1))) },
  pings: {
    begin: () => greeting(),
    more: same(frame(TYPE.ping, FLAG.none, 0, Buffer.alloc(8)), UNANSWERED),
    isPatient: true,
  },
  "pings, unread": {
    begin: () => greeting(),
    more: same(frame(TYPE.ping, FLAG.none, 0, Buffer.alloc(8))),
    isDeaf: true,
  },
  settings: {
    begin: () => greeting(),
    more: same(frame(TYPE.settings, FLAG.none, 0), UNANSWERED),
    isPatient: true,
  },
  "frames of no known type": { begin: () => greeting(), more: same(frame(0xfa, FLAG.none, 0)) },
  "endless header list": {
    begin: () => Buffer.concat([greeting(), callHead(1, PATH, FLAG.none)]),
    more: same(frame(TYPE.continuation, FLAG.none, 1, field())),
  },
  "empty data": { begin: oneCall, more: same(frame(TYPE.data, FLAG.none, 1)) },
  "padded empty data": { begin: oneCall, more: same(frame(TYPE.data, FLAG.padded, 1, Buffer.alloc(1))) },
  "slow reader, no window": { begin: () => Buffer.concat([greeting(0), asks()]), connections: 100 },
  "slow reader, deaf": { begin: () => greeting(), more: calls(ask, 2), isDeaf: true },
  "idle, silent": { begin: () => Buffer.alloc(0), connections: 3000 },
  "idle, greeted": { begin: () => greeting(), connections: 3000 },
  "idle, half a preface": { begin: () => PREFACE.subarray(0, 3), connections: 3000 },
} satisfies Readonly<Record<string, Kind>>;

export type KindName = keyof typeof KINDS;
