import { create, toBinary } from "@bufbuild/protobuf";
import fc from "fast-check";
import { SyncRequestSchema, VerifyRequestSchema } from "#gen/claviger/v1/key_verifier_pb.js";
import { FLAG, frame, greeting, headerBlock, TYPE, uint32 } from "../../testkit/http2-frames.ts";

export const PATHS = {
  verify: "/claviger.v1.KeyVerifier/Verify",
  sync: "/claviger.v1.KeyVerifier/Sync",
  batch: "/claviger.v1.KeyVerifier/BatchVerify",
  listKeys: "/claviger.v1.KeyManagement/ListKeys",
  health: "/grpc.health.v1.Health/Check",
  watch: "/grpc.health.v1.Health/Watch",
  reflection: "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
  metrics: "/metrics",
  nothing: "/nothing",
} as const;
export const GOAWAY = 7;
/** Also PRIORITY, PUSH_PROMISE, and some that do not exist. */
const TYPES = [...Object.values(TYPE), GOAWAY, 2, 5, 10, 250];
/** SETTINGS_INITIAL_WINDOW_SIZE 0. */
const NO_WINDOW = Buffer.from([0, 4, 0, 0, 0, 0]);

const prefixed = (message: Uint8Array) => Buffer.concat([Buffer.from([0]), uint32(message.length), message]);
export const BODIES = [
  prefixed(toBinary(VerifyRequestSchema, create(VerifyRequestSchema, { secret: "x" }))),
  prefixed(
    toBinary(SyncRequestSchema, create(SyncRequestSchema, { message: { case: "lease", value: { nonce: 1n } } })),
  ),
  prefixed(Buffer.alloc(0)),
];

/** What a client does next. `stream` counts back from the newest call: 0 is that itself. */
type Step =
  | { readonly kind: "call"; readonly path: string; readonly body: Buffer; readonly isOpen: boolean }
  | { readonly kind: "frame"; readonly type: number; readonly flags: number; readonly stream: number; payload: Buffer }
  | { readonly kind: "bytes"; readonly bytes: Buffer };

/** A connection of somebody who keeps to no rule. */
export interface Plan {
  readonly version: "HTTP/1.1" | "HTTP/2";
  readonly method: string;
  /** Of every call, beside those that it needs. */
  readonly headers: Readonly<Record<string, string>>;
  readonly steps: readonly Step[];
  /** Bits that arrive wrong: where, as a share of all bytes, and which. */
  readonly flips: readonly { readonly at: number; readonly bits: number }[];
  /** Where what is sent is cut into pieces, as shares. */
  readonly cuts: readonly number[];
  /** From where on nothing is sent, as a share. */
  readonly until: number;
  readonly isDeaf: boolean;
  readonly ending: "FIN" | "RST" | "RST at once";
}

const bytes = fc.uint8Array({ maxLength: 60 }).map((array) => Buffer.from(array));
const share = fc.double({ min: 0, max: 1, noNaN: true });

const STEP: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant("call" as const),
      path: fc.constantFrom(...Object.values(PATHS)),
      body: fc.oneof(fc.constantFrom(...BODIES), bytes),
      isOpen: fc.boolean(),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant("frame" as const),
      type: fc.constantFrom(...TYPES),
      flags: fc.constantFrom(0, 1, 4, 5, 8, 32, 255),
      stream: fc.constantFrom(0, 0, 1, 2, -1, -2, 1000),
      payload: fc.oneof(fc.constantFrom(uint32(8), uint32(1), Buffer.alloc(8), NO_WINDOW, Buffer.alloc(0)), bytes),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("bytes" as const), bytes }) },
);

export const PLAN: fc.Arbitrary<Plan> = fc.record({
  version: fc.constantFrom("HTTP/2", "HTTP/2", "HTTP/2", "HTTP/1.1"),
  method: fc.oneof(
    { weight: 4, arbitrary: fc.constant("POST") },
    { weight: 1, arbitrary: fc.constantFrom("GET", "HEAD", "OPTIONS", "CONNECT", "PRI", "x") },
  ),
  headers: fc.constantFrom<Record<string, string>[]>(
    ...[{}, {}, { expect: "100-continue" }, { connection: "upgrade", upgrade: "h2c" }],
    ...[{ "transfer-encoding": "chunked" }, { "grpc-timeout": "1m" }, { "grpc-encoding": "gzip" }],
    ...["application/json", "application/proto", "application/connect+proto", "application/grpc-web+proto"].map(
      (type) => ({ "content-type": type, "connect-protocol-version": "1" }),
    ),
  ),
  steps: fc.array(STEP, { minLength: 1, maxLength: 12 }),
  flips: fc.oneof(
    { weight: 2, arbitrary: fc.constant([]) },
    {
      weight: 1,
      arbitrary: fc.array(fc.record({ at: share, bits: fc.integer({ min: 1, max: 255 }) }), { maxLength: 3 }),
    },
  ),
  cuts: fc.array(share, { maxLength: 6 }),
  until: fc.oneof({ weight: 2, arbitrary: fc.constant(1) }, { weight: 1, arbitrary: share }),
  isDeaf: fc.boolean(),
  ending: fc.constantFrom("FIN", "RST", "RST at once"),
});

/** All that the client sends, in the pieces in which it leaves. */
export function piecesOf(plan: Plan, token: string): Buffer[] {
  const whole = plan.version === "HTTP/2" ? http2Bytes(plan, token) : http1Bytes(plan, token);
  for (const { at, bits } of plan.flips) {
    const place = Math.floor(at * (whole.length - 1));
    whole[place] = (whole[place] ?? 0) ^ bits;
  }
  const sent = whole.subarray(0, Math.ceil(plan.until * whole.length));
  const places = [0, ...plan.cuts.map((cut) => Math.floor(cut * sent.length)).sort((a, b) => a - b), sent.length];
  return places.slice(1).map((to, index) => sent.subarray(places[index], to));
}

function http2Bytes({ steps, ...plan }: Plan, token: string): Buffer {
  let last = -1;
  const write = (step: Step): Buffer => {
    if (step.kind === "bytes") return step.bytes;
    if (step.kind === "frame") {
      const stream = step.stream === 0 ? 0 : Math.max(0, last + 2 * (step.stream - 1));
      return frame(step.type, step.flags, stream, step.payload);
    }
    last += 2;
    const head = frame(TYPE.headers, FLAG.endHeaders, last, headOf(step.path, token, plan));
    return Buffer.concat([head, frame(TYPE.data, step.isOpen ? FLAG.none : FLAG.endStream, last, step.body)]);
  };
  return Buffer.concat([greeting(), frame(TYPE.settings, FLAG.ack, 0), ...steps.map(write)]);
}

function headOf(path: string, token: string, { method, headers }: Pick<Plan, "method" | "headers">): Buffer {
  return headerBlock({
    ...{ ":method": method, ":scheme": "http", ":authority": "localhost", ":path": path, te: "trailers" },
    ...{ "content-type": "application/grpc+proto", authorization: `Bearer ${token}`, ...headers },
  });
}

/** One request after the other without waiting; of an open one too little comes. */
function http1Bytes({ steps, method, headers }: Plan, token: string): Buffer {
  const write = (step: Step): Buffer => {
    if (step.kind === "bytes") return step.bytes;
    if (step.kind === "frame") return step.payload;
    const length = step.body.length + (step.isOpen ? 1 : 0);
    const needed = { host: "x", authorization: `Bearer ${token}`, "content-type": "application/proto" };
    const fields = { ...needed, "content-length": length, ...headers };
    const lines = Object.entries(fields).map(([name, value]) => `${name}: ${value}`);
    return Buffer.concat([Buffer.from([`${method} ${step.path} HTTP/1.1`, ...lines, "", ""].join("\r\n")), step.body]);
  };
  return Buffer.concat(steps.map(write));
}
