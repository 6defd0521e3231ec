import { once } from "node:events";
import { type ClientHttp2Session, connect } from "node:http2";
import { type AddressInfo, createServer, type Socket } from "node:net";
import fc from "fast-check";
import { afterAll, beforeAll, expect, it } from "vitest";
import { HpackDecoder } from "../../src/http2/hpack/decoder.ts";

const FRAME_HEAD_BYTES = 9;
const PREFACE_BYTES = 24;
const SETTINGS = 4;
const HEADERS = 1;
const PADDED_OR_PRIORITY = 0x28;
/** SETTINGS_HEADER_TABLE_SIZE (1) of the server, for larger, usual and no tables of the client. */
const TABLE_SIZES = [16_384, 4096, 0];
const REQUESTS = 60;

const server = createServer({ noDelay: true });

beforeAll(async () => void (await once(server.listen(0, "127.0.0.1"), "listening")));
afterAll(() => void server.close());

it.each(TABLE_SIZES)(
  "header blocks of node:http2 decode to its headers with a table of %d bytes",
  async (tableBytes) => {
    const accepted = once(server, "connection");
    const session = connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
    const [socket] = (await accepted) as [Socket];
    try {
      const blocks = readBlocks(socket);
      socket.write(settingsFrame(tableBytes));
      await once(session, "remoteSettings");
      const requests = fc.sample(headers, { numRuns: REQUESTS, seed: 11 });
      const sent = requests.map((each) => send(session, each));
      const decoder = new HpackDecoder({
        tableBytes: Math.max(tableBytes, 4096),
        listBytes: 65_536,
        mostFields: 100,
        rememberedBlocks: 8,
      });
      for (const fields of sent) {
        const { value: block } = await blocks.next();
        expect(decoder.decode(block as Buffer, 0, (block as Buffer).length).fields).toEqual(fields);
      }
    } finally {
      session.destroy();
      socket.destroy();
    }
  },
);

/** Names and values that come again, and others. */
const headers = fc.dictionary(
  fc.constantFrom("authorization", "user-agent", "grpc-timeout", "x-a", "x-request-id", "cache-control"),
  fc.oneof(fc.constantFrom("1m", "2m", "v".repeat(1500)), fc.stringMatching(/^[!-~]{1,40}$/)),
);

function send(session: ClientHttp2Session, own: Readonly<Record<string, string>>): string[] {
  const all = { ":method": "POST", ":path": "/a/b", ":scheme": "http", ":authority": "host:1", ...own };
  const stream = session.request(all, { endStream: true });
  stream.on("error", () => undefined);
  return Object.entries(all).flat();
}

function settingsFrame(tableBytes: number): Buffer {
  const frame = Buffer.alloc(FRAME_HEAD_BYTES + 6);
  frame.writeUIntBE(6, 0, 3);
  frame[3] = SETTINGS;
  frame.writeUInt16BE(1, FRAME_HEAD_BYTES);
  frame.writeUInt32BE(tableBytes, FRAME_HEAD_BYTES + 2);
  return frame;
}

/** The header blocks that a client sends, each in one frame. */
async function* readBlocks(socket: Socket): AsyncGenerator<Buffer, undefined> {
  let bytes = Buffer.alloc(0);
  let at = PREFACE_BYTES;
  for await (const chunk of socket) {
    bytes = Buffer.concat([bytes, chunk]);
    while (bytes.length >= at + FRAME_HEAD_BYTES) {
      const length = bytes.readUIntBE(at, 3);
      const from = at + FRAME_HEAD_BYTES;
      if (bytes.length < from + length) break;
      if (bytes[at + 3] === HEADERS) {
        expect((bytes[at + 4] ?? 0) & PADDED_OR_PRIORITY, "flags of a plain HEADERS frame").toBe(0);
        yield bytes.subarray(from, from + length);
      }
      at = from + length;
    }
  }
  return undefined;
}
