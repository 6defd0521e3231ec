import * as net from "node:net";
import { Flag, HEAD_BYTES, PREFACE, Setting, Type } from "../src/http2/frames.ts";
import { frame, headerBlock, uint32 } from "./http2-frames.ts";

export interface RawFrame {
  readonly type: number;
  readonly flags: number;
  readonly streamId: number;
  readonly payload: Buffer;
}

export interface RawGoaway {
  readonly lastId: number;
  readonly code: number;
  readonly message: string;
}

/** The fields of a call that the server takes. */
export const CALL: Readonly<Record<string, string>> = {
  ":method": "POST",
  ":scheme": "http",
  ":path": "/a.B/C",
  ":authority": "test",
};

export function settingsFrame(settings: readonly (readonly [id: number, value: number])[] = []): Buffer {
  const payload = Buffer.alloc(6 * settings.length);
  for (const [at, [id, value]] of settings.entries()) {
    payload.writeUInt16BE(id, 6 * at);
    payload.writeUInt32BE(value, 6 * at + 2);
  }
  return frame(Type.settings, 0, 0, payload);
}

/** SETTINGS that let so many bytes of each answer come. */
export function windowSetting(bytes: number): Buffer {
  return settingsFrame([[Setting.initialWindowSize, bytes]]);
}

/** HEADERS of a whole block. */
export function headersFrame(streamId: number, { fields = CALL, isLast = false } = {}): Buffer {
  const flags = Flag.endHeaders | (isLast ? Flag.endStream : 0);
  return frame(Type.headers, flags, streamId, headerBlock(fields));
}

export function dataFrame(streamId: number, bytes: Uint8Array | number, { isLast = false } = {}): Buffer {
  const payload = typeof bytes === "number" ? Buffer.alloc(bytes) : Buffer.from(bytes);
  return frame(Type.data, isLast ? Flag.endStream : 0, streamId, payload);
}

export function resetFrame(streamId: number, code: number): Buffer {
  return frame(Type.rstStream, 0, streamId, uint32(code));
}

export function windowUpdateFrame(streamId: number, bytes: number): Buffer {
  return frame(Type.windowUpdate, 0, streamId, uint32(bytes));
}

export function pingFrame(data = "12345678", { isAck = false } = {}): Buffer {
  return frame(Type.ping, isAck ? Flag.ack : 0, 0, Buffer.from(data));
}

export function goawayOf({ payload }: RawFrame): RawGoaway {
  const [lastId, code] = [payload.readUInt32BE(0), payload.readUInt32BE(4)];
  return { lastId, code, message: payload.subarray(8).toString() };
}

/** A client of HTTP/2 that sends any frames, valid or not, and keeps those that come. */
export class RawHttp2 {
  readonly socket: net.Socket;
  readonly frames: RawFrame[] = [];
  #rest = Buffer.alloc(0);
  #isClosed = false;

  /** Sends nothing yet. */
  constructor(port: number) {
    this.socket = net.connect({ host: "127.0.0.1", port, noDelay: true });
    this.socket
      .on("error", () => undefined)
      .on("data", (chunk: Buffer) => this.#receive(chunk))
      .on("close", () => {
        this.#isClosed = true;
      });
  }

  /** Whether the server has ended the connection. */
  get isClosed(): boolean {
    return this.#isClosed;
  }

  get goaways(): RawGoaway[] {
    return this.of(Type.goaway).map(goawayOf);
  }

  /** The frames of this type that have come, of one stream or of all. */
  of(type: number, streamId?: number): RawFrame[] {
    return this.frames.filter((frame) => frame.type === type && (streamId ?? frame.streamId) === frame.streamId);
  }

  /** The code with which the server reset a stream. */
  resetCode(streamId: number): number | undefined {
    return this.of(Type.rstStream, streamId)[0]?.payload.readUInt32BE(0);
  }

  /** Whether the answer on a stream is whole. */
  isAnswered(streamId: number): boolean {
    const isLast = ({ flags }: RawFrame) => (flags & Flag.endStream) !== 0;
    return [...this.of(Type.headers, streamId), ...this.of(Type.data, streamId)].some(isLast);
  }

  /** The preface and SETTINGS. */
  greet(settings: Buffer = settingsFrame()): this {
    return this.send(PREFACE, settings);
  }

  send(...frames: Buffer[]): this {
    this.socket.write(Buffer.concat(frames));
    return this;
  }

  /** Resolves once the server has handled all that was sent before. */
  async reached(): Promise<void> {
    const data = String(this.of(Type.ping).length).padStart(8, "r");
    this.send(pingFrame(data));
    const isEcho = ({ payload }: RawFrame) => payload.toString() === data;
    while (!this.#isClosed && !this.of(Type.ping).some(isEcho)) await this.#changed();
  }

  /** Resolves when the server has closed the connection. */
  async closed(): Promise<void> {
    while (!this.#isClosed) await this.#changed();
  }

  #changed(): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        this.socket.off("data", done).off("close", done);
        resolve();
      };
      this.socket.on("data", done).on("close", done);
    });
  }

  #receive(chunk: Buffer): void {
    this.#rest = Buffer.concat([this.#rest, chunk]);
    while (this.#rest.length >= HEAD_BYTES) {
      const to = HEAD_BYTES + this.#rest.readUIntBE(0, 3);
      if (this.#rest.length < to) return;
      const [type = 0, flags = 0] = this.#rest.subarray(3, 5);
      const streamId = this.#rest.readUInt32BE(5);
      this.frames.push({ type, flags, streamId, payload: this.#rest.subarray(HEAD_BYTES, to) });
      this.#rest = this.#rest.subarray(to);
    }
  }
}
