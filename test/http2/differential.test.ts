import { once } from "node:events";
import { createServer, type ServerHttp2Stream } from "node:http2";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import fc from "fast-check";
import { describe, expect, it, onTestFinished } from "vitest";
import type { HttpHandler } from "../../src/transport/http/exchange.ts";
import { TYPE } from "../../testkit/http2-frames.ts";
import { FRAME_PLAN, type FramePlan, type PlannedFrame, PRIORITY, piecesOf } from "./frame-plan.ts";
import { connectRaw, GOAWAY, type RawConnection, type ReceivedStream } from "./raw-connection.ts";
import { servePort } from "./serve-port.ts";

/** Milliseconds to search; CI takes the default. */
const SEARCH_MS = Number(process.env.CLAVIGER_TEST_FUZZ_MS ?? 20_000);
const SEED = Number(process.env.CLAVIGER_TEST_FUZZ_SEED ?? 1);
/** Milliseconds without an answer to a PING, after which a frame is taken to lack its end. */
const SWALLOWED_MS = 150;
/** Milliseconds that the second look at a difference waits for answers. */
const PATIENT_MS = 500;
/** Completes every frame that has begun. What is left is DATA on stream 0, which ends the connection. */
const REST = Buffer.alloc(16_384 + 2 * 9);

/** What both servers answer: all that they know of the request. */
function describeRequest(method: string, target: string, authority: string, name: string, body: string): Buffer {
  return Buffer.from(JSON.stringify({ method, target, authority, name, body }));
}

const handler: HttpHandler = (exchange) => {
  const pieces: Buffer[] = [];
  exchange.listen({
    piece: (bytes) => void pieces.push(bytes),
    failed: () => undefined,
    ended() {
      const body = Buffer.concat(pieces).toString("hex");
      const { method, target, authority = "" } = exchange;
      exchange.respond(200, [["content-type", "text/plain"]], false);
      exchange.write(describeRequest(method, target, authority, exchange.header("x-name") ?? "", body));
      exchange.end();
    },
  });
};

/** The oracle. */
async function serveNode(): Promise<number> {
  const settings = { maxConcurrentStreams: 128, maxHeaderListSize: 16 * 1024 };
  const server = createServer({ settings });
  server.on("session", (session) => session.on("error", () => undefined));
  server.on("sessionError", () => undefined);
  server.on("stream", (stream: ServerHttp2Stream, headers) => {
    const pieces: Buffer[] = [];
    stream.on("error", () => undefined);
    stream.on("data", (piece: Buffer) => void pieces.push(piece));
    stream.on("end", () => {
      if (stream.destroyed) return;
      const { ":method": method = "", ":path": target = "", ":authority": authority, host, "x-name": name } = headers;
      stream.respond({ ":status": 200, "content-type": "text/plain" });
      const body = Buffer.concat(pieces).toString("hex");
      stream.end(describeRequest(method, target, authority ?? host ?? "", String(name ?? ""), body));
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => void server.close());
  return (server.address() as AddressInfo).port;
}

/** What a client sees of one stream. */
interface SeenStream {
  readonly end: ReceivedStream["end"];
  readonly heads: string;
  readonly body: string;
}

interface Seen {
  readonly streams: ReadonlyMap<number, SeenStream>;
  /** The server ended the connection for a fault of the client. */
  readonly isRefused: boolean;
  readonly code: number | undefined;
}

async function play(port: number, plan: FramePlan, waitMs = 0): Promise<Seen> {
  const connection = await connectRaw(port);
  for (const piece of piecesOf(plan)) {
    await connection.send(piece);
    await new Promise(setImmediate);
  }
  if (waitMs > 0) await sleep(waitMs);
  const isSettled = (await connection.ping("first", SWALLOWED_MS + waitMs)) && (await connection.ping("second"));
  if (!isSettled && !connection.isOver) await connection.send(REST);
  if (!isSettled) await connection.until(() => connection.isOver);
  const seen = { ...streamsOf(connection), isRefused: !isSettled, code: connection.goAway?.code };
  connection.close();
  return seen;
}

function streamsOf(connection: RawConnection): Pick<Seen, "streams"> {
  const seen = [...connection.streams].map(([id, { end, heads, body }]): [number, SeenStream] => {
    const fields = heads.map((list) => list.filter((_, at) => list[at - (at % 2)] !== "date").join(" "));
    return [id, { end, heads: fields.join(" | "), body: body.toString() }];
  });
  return { streams: new Map(seen) };
}

/** A plan after which one server ends the connection, and the other goes on: both may, or ours is right. */
interface KnownDifference {
  readonly reason: string;
  /** Codes of GOAWAY; undefined for a server that goes on. */
  readonly ours: number | undefined;
  readonly nodes: number | undefined;
  /** Whether a frame of the plan is treated in this way. */
  readonly has: (frame: PlannedFrame) => boolean;
}

const isOn = (type: number) => (frame: PlannedFrame) => frame.type === type;
const isOnStream = (type: number) => (frame: PlannedFrame) => frame.type === type && frame.stream !== 0;

const KNOWN: readonly KnownDifference[] = [
  {
    reason: "A client that sends GOAWAY closes the connection itself. Until then ours answers its PING.",
    ours: undefined,
    nodes: 0,
    has: isOn(GOAWAY),
  },
  {
    reason: "WINDOW_UPDATE of 0 on a stream is an error of the stream (RFC 9113, section 6.9).",
    ours: undefined,
    nodes: 1,
    has: isOnStream(TYPE.windowUpdate),
  },
  {
    reason: "An acknowledgement of SETTINGS too many is no error in RFC 9113.",
    ours: undefined,
    nodes: 1,
    has: isOn(TYPE.settings),
  },
  {
    reason:
      "A window above 2^31-1 is an error of its stream, and none where the stream is over (RFC 9113, section 6.9.1).",
    ours: undefined,
    nodes: 3,
    has: isOnStream(TYPE.windowUpdate),
  },
  {
    reason: "PRIORITY on stream 0 is an error of the connection (RFC 9113, section 6.3).",
    ours: 1,
    nodes: undefined,
    has: (frame) => frame.type === PRIORITY && frame.stream === 0,
  },
  {
    reason: "PRIORITY of a wrong length is an error of its stream (RFC 9113, section 6.3).",
    ours: undefined,
    nodes: 6,
    has: isOnStream(PRIORITY),
  },
  {
    reason: "node:http2 (26) ends the connection as INTERNAL_ERROR for more frames on a stream that it has just reset.",
    ours: undefined,
    nodes: 2,
    has: isOnStream(TYPE.headers),
  },
  {
    reason: "Frames on a stream that was reset for its head may have been under way (RFC 9113, section 5.1).",
    ours: undefined,
    nodes: 5,
    has: isOnStream(TYPE.headers),
  },
  {
    reason:
      "Frames after END_STREAM are an error of the connection, even if the stream was reset (RFC 9113, section 5.1).",
    ours: 5,
    nodes: undefined,
    has: isOnStream(TYPE.headers),
  },
];

function isKnown(plan: FramePlan, ours: Seen, nodes: Seen): boolean {
  const [our, node] = [ours, nodes].map(({ isRefused, code }) => (isRefused ? code : undefined));
  return KNOWN.some((known) => known.ours === our && known.nodes === node && plan.frames.some(known.has));
}

/** What differs, and is not known to. */
function differences(plan: FramePlan, ours: Seen, nodes: Seen): string[] {
  if (ours.isRefused !== nodes.isRefused) {
    return isKnown(plan, ours, nodes) ? [] : [`GOAWAY: ${ours.code} and ${nodes.code}`];
  }
  const ids = new Set([...ours.streams.keys(), ...nodes.streams.keys()]);
  return [...ids].flatMap((id) => {
    const [our, node] = [ours.streams.get(id), nodes.streams.get(id)];
    if (node?.end !== "ended" && isAnsweredLater(plan, nodes)) return [];
    return JSON.stringify(our) === JSON.stringify(node) ? [] : [`stream ${id}: ${JSON.stringify([our, node])}`];
  });
}

/** node:http2 answers after all that came in one piece: the end of a stream or connection, or a smaller window, comes first. */
function isAnsweredLater(plan: FramePlan, nodes: Seen): boolean {
  return nodes.isRefused || plan.frames.some(({ type }) => LATER.has(type));
}

const LATER: ReadonlySet<number> = new Set([TYPE.reset, TYPE.settings, GOAWAY]);

describe("frames in any order, with any fault,", () => {
  it(
    "have the answers that node:http2 gives",
    async () => {
      const [{ port }, oracle] = [await servePort(handler), await serveNode()];
      const refused = { none: 0, both: 0 };
      await fc.assert(
        fc.asyncProperty(FRAME_PLAN, async (plan) => {
          const [ours, nodes] = await Promise.all([play(port, plan), play(oracle, plan)]);
          if (!ours.isRefused && !nodes.isRefused) refused.none += 1;
          if (ours.isRefused && nodes.isRefused) refused.both += 1;
          if (differences(plan, ours, nodes).length === 0) return;
          // On a machine that is busy an answer may have come too late to be seen.
          const again = await Promise.all([play(port, plan, PATIENT_MS), play(oracle, plan, PATIENT_MS)]);
          expect(differences(plan, ...again)).toEqual([]);
        }),
        { seed: SEED, numRuns: 1_000_000, interruptAfterTimeLimit: SEARCH_MS },
      );
      // Plans of which nearly all are refused, or none, would find little.
      expect(Math.min(refused.none, refused.both)).toBeGreaterThan(0.1 * (refused.none + refused.both));
    },
    600_000 + SEARCH_MS,
  );
});
