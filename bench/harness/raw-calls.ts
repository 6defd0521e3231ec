import { connect, type Socket } from "node:net";
import { callFrames, FLAG, frame, greeting, TYPE, uint32 } from "../../testkit/http2-frames.ts";

/** The outcome of a call. */
export interface RawAnswer {
  /** The body, as far as it is in one piece; undefined: an error instead of a message, or a reset. */
  readonly body: Buffer | undefined;
}

export interface RawCallsOptions {
  readonly url: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  /** Called at each call's end, with its number. */
  readonly onAnswer: (call: number, answer: RawAnswer) => void;
}

/** As many as servers here allow. */
const MOST_OPEN = 128;
const HEAD_BYTES = 9;
/** The bytes that a server may send before the next window update: a whole run's worth. */
const WINDOW = 2 ** 31 - 1;
const DEFAULT_WINDOW = 65_535;

interface OpenCall {
  readonly call: number;
  body: Buffer | undefined;
}

/**
 * Unary calls on one HTTP/2 connection, made of frames that are built beforehand: `node:http2` takes 60 µs of a
 * client's CPU for a call, more than the measured server, and a late client looks like a slow server. Answers are not
 * decoded: without a message they are errors.
 */
export class RawCalls {
  readonly #socket: Socket;
  readonly #frames: ReturnType<typeof callFrames>;
  readonly #onAnswer: RawCallsOptions["onAnswer"];
  readonly #open = new Map<number, OpenCall>();
  readonly #waiting: { readonly call: number; readonly body: Buffer }[] = [];
  #waitingFrom = 0;
  #pieces: Buffer[] = [];
  #stream = -1;
  #window = DEFAULT_WINDOW;
  #rest: Buffer = Buffer.alloc(0);

  private constructor(socket: Socket, { path, headers, onAnswer }: RawCallsOptions) {
    this.#socket = socket;
    this.#onAnswer = onAnswer;
    this.#frames = callFrames(path, headers);
    socket.write(
      Buffer.concat([greeting(WINDOW), frame(TYPE.windowUpdate, FLAG.none, 0, uint32(WINDOW - DEFAULT_WINDOW))]),
    );
    socket.on("data", (chunk: Buffer) => this.#read(chunk));
    socket.on("error", () => undefined);
    socket.on("close", () => this.#lose());
  }

  static open(options: RawCallsOptions): Promise<RawCalls> {
    const { hostname: host, port } = new URL(options.url);
    const socket = connect({ host, port: Number(port), noDelay: true });
    return new Promise((resolve, reject) => {
      socket.once("error", reject);
      socket.once("connect", () => resolve(new RawCalls(socket, options)));
    });
  }

  /** Sends it once there is room; with `flush`. */
  add(call: number, body: Buffer): void {
    this.#waiting.push({ call, body });
  }

  flush(): void {
    if (this.#socket.destroyed) this.#lose();
    while (this.#open.size < MOST_OPEN) {
      const next = this.#waiting[this.#waitingFrom];
      if (next === undefined || next.body.length > this.#window) break;
      this.#waitingFrom += 1;
      this.#stream += 2;
      this.#window -= next.body.length;
      this.#open.set(this.#stream, { call: next.call, body: undefined });
      this.#pieces.push(this.#frames.head(this.#stream), frame(TYPE.data, FLAG.endStream, this.#stream, next.body));
    }
    if (this.#waitingFrom === this.#waiting.length) {
      this.#waiting.length = 0;
      this.#waitingFrom = 0;
    }
    if (this.#pieces.length === 0) return;
    this.#socket.write(Buffer.concat(this.#pieces));
    this.#pieces = [];
  }

  close(): void {
    this.#socket.destroy();
  }

  #read(chunk: Buffer): void {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    let at = 0;
    while (bytes.length - at >= HEAD_BYTES) {
      const end = at + HEAD_BYTES + bytes.readUIntBE(at, 3);
      if (end > bytes.length) break;
      const type = bytes[at + 3] as number;
      this.#take(
        type,
        { flags: bytes[at + 4] as number, stream: bytes.readUInt32BE(at + 5) },
        bytes.subarray(at + HEAD_BYTES, end),
      );
      at = end;
    }
    this.#rest = bytes.subarray(at);
    this.flush();
  }

  #take(type: number, { flags, stream }: { readonly flags: number; readonly stream: number }, payload: Buffer): void {
    if (type === TYPE.settings && (flags & FLAG.ack) === 0) this.#pieces.push(frame(TYPE.settings, FLAG.ack, 0));
    else if (type === TYPE.ping && (flags & FLAG.ack) === 0) this.#pieces.push(frame(TYPE.ping, FLAG.ack, 0, payload));
    else if (type === TYPE.windowUpdate && stream === 0) this.#window += payload.readUInt32BE();
    else if (type === TYPE.data) this.#keep(stream, payload);
    const isOver =
      type === TYPE.reset || ((type === TYPE.headers || type === TYPE.data) && (flags & FLAG.endStream) !== 0);
    if (isOver) this.#end(stream);
  }

  #keep(stream: number, payload: Buffer): void {
    const open = this.#open.get(stream);
    if (open !== undefined) open.body ??= payload;
  }

  #end(stream: number): void {
    const open = this.#open.get(stream);
    if (open === undefined || !this.#open.delete(stream)) return;
    this.#onAnswer(open.call, open);
  }

  /** The connection is gone, and with it every call. */
  #lose(): void {
    for (const stream of [...this.#open.keys()]) this.#end(stream);
    this.#waiting.splice(0, this.#waitingFrom);
    this.#waitingFrom = 0;
    // The callback may add the next call.
    for (const { call } of this.#waiting) this.#onAnswer(call, { body: undefined });
    this.#waiting.length = 0;
  }
}
