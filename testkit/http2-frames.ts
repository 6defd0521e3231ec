/** Frames of HTTP/2 (RFC 9113, 4.1), valid or not, as bare as tests and benches need them. */
export const TYPE = { data: 0, headers: 1, reset: 3, settings: 4, ping: 6, windowUpdate: 8, continuation: 9 } as const;
export const FLAG = { none: 0, ack: 1, endStream: 1, endHeaders: 4, padded: 8 } as const;
export const PREFACE = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "latin1");
const INITIAL_WINDOW_SIZE = 4;
const CANCEL = 8;

export function frame(type: number, flags: number, stream: number, payload: Buffer = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

/** The first bytes of every client. A window of 0 lets no byte of an answer's message through. */
export function greeting(window?: number): Buffer {
  const setting = Buffer.alloc(window === undefined ? 0 : 6);
  if (window !== undefined) {
    setting.writeUInt16BE(INITIAL_WINDOW_SIZE, 0);
    setting.writeUInt32BE(window, 2);
  }
  return Buffer.concat([PREFACE, frame(TYPE.settings, FLAG.none, 0, setting)]);
}

/** A text of less than 127 bytes. */
function text(value: string): Buffer {
  return Buffer.concat([Buffer.from([value.length]), Buffer.from(value, "latin1")]);
}

/** A header list, each field literal and without indexing (RFC 7541, 6.2.2); no text of 127 bytes or more. */
export function headerBlock(fields: Readonly<Record<string, string>>): Buffer {
  const field = ([name, value]: [string, string]) => Buffer.concat([Buffer.from([0]), text(name), text(value)]);
  return Buffer.concat(Object.entries(fields).map(field));
}

function callFields(path: string) {
  return { ":method": "POST", ":scheme": "http", ":authority": "localhost", ":path": path, te: "trailers" };
}

/** Begins a call, or, with `endStream`, makes all of one without a message. */
export function callHead(stream: number, path: string, flags: number = FLAG.endHeaders): Buffer {
  const fields = { ...callFields(path), "content-type": "application/grpc+proto" };
  return frame(TYPE.headers, flags, stream, headerBlock(fields));
}

/** First of the dynamic table (RFC 7541, 2.3.3). */
const DYNAMIC = 62;

/**
 * The head of one call after the other, as clients send them: literal and to be remembered at first (RFC 7541, 6.2.1),
 * from then on as indices, of a byte each.
 */
export function callFrames(path: string, headers: Readonly<Record<string, string>>) {
  const fields = Object.entries({ ...callFields(path), ...headers });
  const remembered = ([name, value]: [string, string]) => Buffer.concat([Buffer.from([0x40]), text(name), text(value)]);
  const first = Buffer.concat(fields.map(remembered));
  const later = Buffer.from(fields.map((_, at) => 0x80 | (DYNAMIC + fields.length - 1 - at)));
  let isFirst = true;
  return {
    head(stream: number): Buffer {
      const block = isFirst ? first : later;
      isFirst = false;
      return frame(TYPE.headers, FLAG.endHeaders, stream, block);
    },
  };
}

export function reset(stream: number): Buffer {
  return frame(TYPE.reset, FLAG.none, stream, uint32(CANCEL));
}

/** The next ids of a client's streams. */
export function nextStream(): () => number {
  let last = -1;
  return () => {
    last += 2;
    return last;
  };
}

export function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}
