import fc from "fast-check";
import { FLAG, frame, greeting, headerBlock, TYPE, uint32 } from "../../testkit/http2-frames.ts";
import { GOAWAY } from "./raw-connection.ts";

/** A frame before it is written: everything may be wrong in it. */
export interface PlannedFrame {
  readonly type: number;
  readonly flags: number;
  readonly stream: number;
  readonly payload: Buffer;
  /** In place of the payload's length. */
  readonly length?: number;
}

export interface FramePlan {
  readonly frames: readonly PlannedFrame[];
  /** Places at which the bytes are cut into pieces, as shares. */
  readonly cuts: readonly number[];
}

export const PRIORITY = 2;
const PUSH_PROMISE = 5;
const UNKNOWN = 10;
const PRIORITY_FLAG = 0x20;

const NEEDED = { ":method": "POST", ":scheme": "http", ":authority": "localhost", ":path": "/call" };
const { ":path": path, ...WITHOUT_PATH } = NEEDED;
const { ":method": method, ...WITHOUT_METHOD } = NEEDED;
const { ":scheme": scheme, ...WITHOUT_SCHEME } = NEEDED;

/** Header lists, right ones and those that RFC 9113, section 8, forbids. */
const BLOCKS: readonly Buffer[] = [
  headerBlock(NEEDED),
  headerBlock({ ...NEEDED, "x-name": "value", te: "trailers", cookie: "a=1" }),
  headerBlock({ ...NEEDED, ":method": "GET", ":path": "/other?query=1" }),
  // Indexed: GET, http, "/", and an authority that enters the dynamic table; then the same from that table.
  Buffer.concat([Buffer.from([0x82, 0x86, 0x84, 0x41, 0x04]), Buffer.from("host")]),
  Buffer.from([0x82, 0x86, 0x84, 0xbe]),
];
const BAD_BLOCKS: readonly Buffer[] = [
  headerBlock(WITHOUT_PATH),
  headerBlock(WITHOUT_METHOD),
  headerBlock(WITHOUT_SCHEME),
  headerBlock({ ...NEEDED, ":path": "" }),
  headerBlock({ ...NEEDED, "X-Name": "upper case" }),
  headerBlock({ ...NEEDED, connection: "close" }),
  headerBlock({ ...NEEDED, te: "gzip" }),
  headerBlock({ ...NEEDED, ":status": "200" }),
  headerBlock({ ...NEEDED, ":unknown": "x" }),
  headerBlock({ "x-name": "value", ...NEEDED }),
  headerBlock({ ...NEEDED, "content-length": "3" }),
  Buffer.concat([headerBlock(NEEDED), headerBlock(NEEDED)]),
  // Not HPACK: an index that does not exist, and a text that goes on beyond the block.
  Buffer.from([0x82, 0x86, 0x84, 0xff, 0x80, 0x01]),
  Buffer.from([0x82, 0x86, 0x84, 0x00, 0x05, 0x61]),
];

const bytes = fc.uint8Array({ maxLength: 40 }).map((array) => Buffer.from(array));
const share = fc.double({ min: 0, max: 1, noNaN: true });

/** Steps of a client; a request takes the next stream, the others count back from the newest one. */
type Step = (last: number) => { readonly frames: readonly PlannedFrame[]; readonly last: number };

const body = fc.array(fc.record({ bytes, padding: fc.option(fc.nat({ max: 20 }), { nil: undefined }) }), {
  maxLength: 3,
});

const REQUEST: fc.Arbitrary<Step> = fc
  .record({
    block: fc.oneof(
      { weight: 6, arbitrary: fc.constantFrom(...BLOCKS) },
      { weight: 1, arbitrary: fc.constantFrom(...BAD_BLOCKS) },
    ),
    parts: body,
    hasEnd: fc.oneof({ weight: 5, arbitrary: fc.constant(true) }, { weight: 1, arbitrary: fc.constant(false) }),
    hasTrailers: fc.oneof({ weight: 5, arbitrary: fc.constant(false) }, { weight: 1, arbitrary: fc.constant(true) }),
    hasPriority: fc.boolean(),
    continuedAt: fc.option(share, { nil: undefined }),
  })
  .map(({ block, parts, hasEnd, hasTrailers, hasPriority, continuedAt }) => (last) => {
    const stream = last + 2;
    const endsAtHead = hasEnd && !hasTrailers && parts.length === 0;
    const frames = headFrames({ block, stream, isLast: endsAtHead, hasPriority, continuedAt });
    parts.forEach((part, at) => {
      const isLast = hasEnd && !hasTrailers && at === parts.length - 1;
      frames.push(dataFrame({ ...part, stream, isLast }));
    });
    if (hasTrailers) {
      const flags = FLAG.endHeaders | (hasEnd ? FLAG.endStream : 0);
      frames.push({ type: TYPE.headers, flags, stream, payload: headerBlock({ "x-trailer": "t" }) });
    }
    return { frames, last: stream };
  });

interface Head {
  readonly block: Buffer;
  readonly stream: number;
  readonly isLast: boolean;
  readonly hasPriority: boolean;
  readonly continuedAt: number | undefined;
}

function headFrames({ block, stream, isLast, hasPriority, continuedAt }: Head): PlannedFrame[] {
  const cut = continuedAt === undefined ? block.length : Math.floor(continuedAt * block.length);
  const priority = hasPriority ? Buffer.from([0, 0, 0, 0, 15]) : Buffer.alloc(0);
  const first = continuedAt === undefined ? FLAG.endHeaders : 0;
  const flags = first | (isLast ? FLAG.endStream : 0) | (hasPriority ? PRIORITY_FLAG : 0);
  const head = { type: TYPE.headers, flags, stream, payload: Buffer.concat([priority, block.subarray(0, cut)]) };
  if (continuedAt === undefined) return [head];
  return [head, { type: TYPE.continuation, flags: FLAG.endHeaders, stream, payload: block.subarray(cut) }];
}

function dataFrame(part: { bytes: Buffer; padding: number | undefined; stream: number; isLast: boolean }) {
  const { bytes, padding, stream, isLast } = part;
  const end = isLast ? FLAG.endStream : 0;
  if (padding === undefined) return { type: TYPE.data, flags: end, stream, payload: bytes };
  const payload = Buffer.concat([Buffer.from([padding]), bytes, Buffer.alloc(padding)]);
  return { type: TYPE.data, flags: end | FLAG.padded, stream, payload };
}

const ON_CONNECTION: ReadonlySet<number> = new Set([TYPE.ping, TYPE.settings, GOAWAY]);

function setting(id: number, value: number): Buffer {
  return Buffer.concat([Buffer.from([0, id]), uint32(value)]);
}

const HARMLESS = [
  { type: TYPE.ping, flags: 0, payload: Buffer.from("12345678") },
  { type: TYPE.settings, flags: 0, payload: Buffer.alloc(0) },
  { type: TYPE.settings, flags: 0, payload: setting(4, 0) },
  { type: TYPE.settings, flags: 0, payload: setting(4, 10) },
  { type: TYPE.settings, flags: 0, payload: setting(4, 100_000) },
  { type: TYPE.settings, flags: 0, payload: setting(1, 0) },
  { type: TYPE.settings, flags: 0, payload: setting(99, 7) },
  { type: TYPE.settings, flags: 0, payload: setting(5, 16_384) },
  { type: TYPE.windowUpdate, flags: 0, payload: uint32(1000) },
  { type: PRIORITY, flags: 0, payload: Buffer.from([0, 0, 0, 0, 1]) },
  { type: TYPE.reset, flags: 0, payload: uint32(8) },
  { type: UNKNOWN, flags: 0, payload: Buffer.from("unknown") },
  { type: 250, flags: 255, payload: Buffer.alloc(0) },
];

const HARMFUL = [
  { type: TYPE.settings, flags: FLAG.ack, payload: Buffer.alloc(0) },
  { type: TYPE.settings, flags: 0, payload: setting(2, 2) },
  { type: TYPE.windowUpdate, flags: 0, payload: uint32(0) },
  { type: TYPE.windowUpdate, flags: 0, payload: uint32(2 ** 31 - 1) },
  { type: TYPE.data, flags: 0, payload: Buffer.from("late") },
  { type: TYPE.data, flags: FLAG.endStream, payload: Buffer.alloc(0) },
  { type: TYPE.continuation, flags: FLAG.endHeaders, payload: headerBlock({ x: "y" }) },
  { type: TYPE.headers, flags: FLAG.endHeaders | FLAG.endStream, payload: headerBlock({ x: "y" }) },
  { type: PUSH_PROMISE, flags: FLAG.endHeaders, payload: Buffer.alloc(4) },
  { type: GOAWAY, flags: 0, payload: Buffer.alloc(8) },
];

const FRAME: fc.Arbitrary<Step> = fc
  .record({
    frame: fc.oneof(
      { weight: 8, arbitrary: fc.constantFrom(...HARMLESS) },
      { weight: 1, arbitrary: fc.constantFrom(...HARMFUL) },
    ),
    back: fc.constantFrom("connection", 0, 0, 1, -1),
    isRight: fc.oneof({ weight: 9, arbitrary: fc.constant(true) }, { weight: 1, arbitrary: fc.constant(false) }),
  })
  .map(({ frame, back, isRight }) => (last) => {
    const near = back === "connection" ? 0 : Math.max(1, last - 2 * Number(back));
    const stream = isRight ? rightStream(frame.type, near, last) : near;
    return { frames: [{ ...frame, stream }], last };
  });

/** A stream on which the type of frame may come, as near as possible to the chosen one. */
function rightStream(type: number, near: number, last: number): number {
  if (ON_CONNECTION.has(type)) return 0;
  if (type === TYPE.windowUpdate) return Math.max(0, Math.min(near, last));
  return Math.max(1, Math.min(near, last));
}

const MUTATION = fc.record({
  at: share,
  kind: fc.constantFrom("flags", "stream", "type", "length", "payload", "drop", "twice", "swap"),
  value: fc.nat({ max: 255 }),
});

/** What a client sends after its preface: mostly right, and sometimes changed in a few places. */
export const FRAME_PLAN: fc.Arbitrary<FramePlan> = fc
  .record({
    steps: fc.array(fc.oneof({ weight: 2, arbitrary: REQUEST }, { weight: 1, arbitrary: FRAME }), {
      minLength: 1,
      maxLength: 8,
    }),
    mutations: fc.oneof(
      { weight: 2, arbitrary: fc.constant([]) },
      { weight: 1, arbitrary: fc.array(MUTATION, { maxLength: 2 }) },
    ),
    cuts: fc.array(share, { maxLength: 5 }),
  })
  .map(({ steps, mutations, cuts }) => {
    let last = -1;
    const frames = steps.flatMap((step) => {
      const taken = step(last);
      last = taken.last;
      return [...taken.frames];
    });
    for (const mutation of mutations) mutate(frames, mutation);
    return { frames, cuts };
  });

function mutate(frames: PlannedFrame[], mutation: { at: number; kind: string; value: number }): void {
  const at = Math.min(frames.length - 1, Math.floor(mutation.at * frames.length));
  const old = frames[at];
  if (old === undefined) return;
  const { value } = mutation;
  if (mutation.kind === "flags") frames[at] = { ...old, flags: old.flags ^ value };
  else if (mutation.kind === "stream") frames[at] = { ...old, stream: value % 12 };
  else if (mutation.kind === "type") frames[at] = { ...old, type: value % 12 };
  else if (mutation.kind === "length") frames[at] = { ...old, length: value < 250 ? value : 16_384 + value };
  else if (mutation.kind === "payload") frames[at] = { ...old, payload: flip(old.payload, value) };
  else if (mutation.kind === "drop") frames.splice(at, 1);
  else if (mutation.kind === "twice") frames.splice(at, 0, old);
  else frames.splice(at, 2, ...frames.slice(at, at + 2).reverse());
}

function flip(payload: Buffer, value: number): Buffer {
  const flipped = Buffer.from(payload);
  if (flipped.length > 0)
    flipped[value % flipped.length] = (flipped[value % flipped.length] ?? 0) ^ (1 + (value % 255));
  return flipped;
}

export function bytesOf({ type, flags, stream, payload, length }: PlannedFrame): Buffer {
  const written = frame(type, flags, stream, payload);
  if (length !== undefined) written.writeUIntBE(length, 0, 3);
  return written;
}

/** All that the client sends, in the pieces in which it leaves. */
export function piecesOf({ frames, cuts }: FramePlan): Buffer[] {
  const whole = Buffer.concat([greeting(), ...frames.map(bytesOf)]);
  const places = [0, ...cuts.map((cut) => Math.floor(cut * whole.length)).sort((a, b) => a - b), whole.length];
  return places.slice(1).map((to, at) => whole.subarray(places[at], to));
}
