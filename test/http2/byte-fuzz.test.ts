import { readFileSync } from "node:fs";
import { queryObjects } from "node:v8";
import { describe, expect, it } from "vitest";
import { Http2Connection } from "../../src/http2/connection.ts";
import { Http2Stream } from "../../src/http2/stream.ts";
import { Chance } from "../../testkit/chance.ts";
import { eventually } from "../../testkit/eventually.ts";
import { answerLikeGrpc } from "./grpc-like-handler.ts";
import { heapBytes } from "./heap.ts";
import { connectRaw, type RawConnection } from "./raw-connection.ts";
import { servePort } from "./serve-port.ts";

/** Milliseconds to search; CI takes the default. */
const SEARCH_MS = Number(process.env.CLAVIGER_TEST_FUZZ_MS ?? 20_000);
const SEED = Number(process.env.CLAVIGER_TEST_FUZZ_SEED ?? 1);
/** Connections at once. */
const AT_ONCE = 8;
/** Rounds before the heap is looked at first: code is compiled by then, and buffers are kept. */
const WARM_ROUNDS = 50;
/** Rounds between two looks at whether a good client is answered. */
const CHECK_ROUNDS = 10;
/** Bytes of heap that may remain in use beside those after the first rounds. */
const MOST_HEAP_BYTES = 16 * 1024 * 1024;
/**
 * Bytes that the server may write for a byte that it reads: an answer whose head is 40 bytes, and as much of trailers, to
 * a request of 14 bytes that names everything by index, and its PING and SETTINGS byte for byte.
 */
const MOST_WRITTEN = 12;
/** SETTINGS, GOAWAY with its message, and the first answer, which may fill the client's table. */
const FIXED_BYTES = 1024;

const RECORDED: Readonly<Record<string, string>> = JSON.parse(
  readFileSync(new URL("./recorded-sessions.json", import.meta.url), "utf8"),
);
const SESSIONS = Object.entries(RECORDED).map(([name, text]) => ({ name, bytes: Buffer.from(text, "base64") }));
const PREFACE_BYTES = 24;
const HEAD_BYTES = 9;

/** The places of frames. */
function framesOf(bytes: Buffer): number[] {
  const places: number[] = [];
  for (let at = PREFACE_BYTES; at + HEAD_BYTES <= bytes.length; at += HEAD_BYTES + bytes.readUIntBE(at, 3)) {
    places.push(at);
  }
  return places;
}

/** One change: of a byte anywhere, of the head of a frame, or of a range. */
function change(bytes: Buffer, chance: Chance): Buffer {
  const [from, length] = [chance.below(bytes.length), 1 + chance.below(40)];
  const [before, range, after] = [
    bytes.subarray(0, from),
    bytes.subarray(from, from + length),
    bytes.subarray(from + length),
  ];
  switch (chance.below(7)) {
    case 0:
    case 1: {
      const changed = Buffer.from(bytes);
      changed[from] = chance.below(256);
      return changed;
    }
    case 2:
    case 3: {
      const changed = Buffer.from(bytes);
      const head = chance.pick(framesOf(bytes)) ?? 0;
      changed[head + chance.below(HEAD_BYTES)] = chance.pick([0, 1, 4, 5, 8, 9, 37, 64, 128, 255]) ?? 0;
      return changed;
    }
    case 4:
      return Buffer.concat([before, after]);
    case 5:
      return Buffer.concat([before, range, range, after]);
    default: {
      const other = chance.pick(SESSIONS)?.bytes ?? bytes;
      const at = chance.below(other.length);
      return Buffer.concat([before, other.subarray(at, at + length), after]);
    }
  }
}

function mutated(chance: Chance): Buffer {
  let bytes: Buffer = chance.pick(SESSIONS)?.bytes ?? Buffer.alloc(0);
  for (let changes = chance.below(5); changes >= 0; changes--) bytes = change(bytes, chance);
  return chance.flip(0.2) ? bytes.subarray(0, chance.below(bytes.length)) : bytes;
}

function cut(bytes: Buffer, chance: Chance): Buffer[] {
  const places = Array.from({ length: chance.below(4) }, () => chance.below(bytes.length + 1)).sort((a, b) => a - b);
  return [0, ...places].map((from, at) => bytes.subarray(from, places[at] ?? bytes.length));
}

async function send(connection: RawConnection, pieces: readonly Buffer[]): Promise<void> {
  for (const piece of pieces) {
    if (piece.length === 0) continue;
    await connection.send(piece);
    await new Promise(setImmediate);
  }
}

/** Plays one mutated session. Returns the bytes that were sent and received. */
async function play(port: number, chance: Chance): Promise<{ sent: number; received: number }> {
  const connection = await connectRaw(port);
  const bytes = mutated(chance);
  await send(connection, cut(bytes, chance));
  const ending = chance.below(4);
  if (ending === 0) connection.socket.resetAndDestroy();
  else if (ending === 1) await new Promise((resolve) => setTimeout(resolve, 2));
  else {
    connection.socket.end();
    await connection.until(() => connection.isClosed, 500);
  }
  connection.close();
  return { sent: bytes.length, received: connection.receivedBytes };
}

/** What a client sees of its calls. */
function seen({ streams }: RawConnection): string {
  return JSON.stringify([...streams].map(([id, { heads, body, end }]) => [id, heads, body.toString("hex"), end]));
}

async function answersTo(port: number, pieces: readonly Buffer[]): Promise<string> {
  const connection = await connectRaw(port);
  await send(connection, pieces);
  const isAnswered = await connection.ping("the end");
  connection.close();
  return `${isAnswered}, ${connection.goAway?.code}: ${seen(connection)}`;
}

describe("sessions of real clients", () => {
  it.each(SESSIONS)("of $name have the same answers wherever they are cut", async ({ bytes }) => {
    const { port } = await servePort(answerLikeGrpc);
    const whole = await answersTo(port, [bytes]);
    expect(whole).toContain("grpc-status");
    const places = Array.from({ length: bytes.length - 1 }, (_, at) => at + 1);
    for (let at = 0; at < places.length; at += AT_ONCE) {
      const cuts = places.slice(at, at + AT_ONCE);
      const answers = await Promise.all(
        cuts.map((place) => answersTo(port, [bytes.subarray(0, place), bytes.subarray(place)])),
      );
      for (const [index, answer] of answers.entries()) expect(answer, `cut at ${cuts[index]}`).toBe(whole);
    }
    expect(
      await answersTo(
        port,
        [...bytes].map((byte) => Buffer.from([byte])),
      ),
    ).toBe(whole);
  });

  it(
    "that are changed at random do no harm to the server or to other clients",
    async () => {
      const { port } = await servePort(answerLikeGrpc);
      const good = SESSIONS[0]?.bytes ?? Buffer.alloc(0);
      const answers = await answersTo(port, [good]);
      const end = performance.now() + SEARCH_MS;
      const total = { sessions: 0, sent: 0, received: 0 };
      let [round, warmHeap] = [0, 0];
      for (; round <= WARM_ROUNDS || performance.now() < end; round++) {
        const chances = Array.from({ length: AT_ONCE }, (_, at) => new Chance(SEED * 2 ** 20 + round * AT_ONCE + at));
        const isChecked = round % CHECK_ROUNDS === 0;
        const [played] = await Promise.all([
          Promise.all(chances.map((chance) => play(port, chance))),
          isChecked ? answersTo(port, [good]).then((again) => expect(again).toBe(answers)) : undefined,
        ]);
        for (const [at, { sent, received }] of played.entries()) {
          expect(received, `of ${sent} bytes in round ${round}, session ${at}`).toBeLessThanOrEqual(
            MOST_WRITTEN * sent + FIXED_BYTES,
          );
          total.sessions += 1;
          total.sent += sent;
          total.received += received;
        }
        if (round === WARM_ROUNDS) warmHeap = await heapBytes();
      }
      const grown = (await heapBytes()) - warmHeap;
      console.log(JSON.stringify({ ...total, heapGrownBytes: grown }));
      await eventually(() => {
        expect(queryObjects(Http2Connection, { format: "count" })).toBe(0);
        expect(queryObjects(Http2Stream, { format: "count" })).toBe(0);
      });
      expect(grown).toBeLessThan(MOST_HEAP_BYTES);
    },
    600_000 + SEARCH_MS,
  );
});
