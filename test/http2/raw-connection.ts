import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { onTestFinished } from "vitest";
import { HpackDecoder } from "../../src/http2/hpack/decoder.ts";
import { FLAG, frame, TYPE } from "../../testkit/http2-frames.ts";

export const GOAWAY = 7;
const HEAD_BYTES = 9;

/** One frame that the server sent. */
export interface ReceivedFrame {
  readonly type: number;
  readonly flags: number;
  readonly stream: number;
  readonly payload: Buffer;
}

/** What the server sent on one stream. */
export interface ReceivedStream {
  /** Header lists, trailers among them: names and values in turns. */
  readonly heads: (readonly string[])[];
  body: Buffer;
  end: "open" | "ended" | "reset";
  /** Of its RST_STREAM. */
  code: number | undefined;
}

export interface ReceivedGoAway {
  readonly code: number;
  readonly message: string;
}

/** A client that sends any bytes, and takes in what comes back. */
export class RawConnection {
  readonly socket: Socket;
  readonly streams = new Map<number, ReceivedStream>();
  readonly pings: string[] = [];
  goAway: ReceivedGoAway | undefined;
  isClosed = false;
  /** Bytes sent until the first GOAWAY, or the end. */
  sentBytes = 0;
  receivedBytes = 0;
  receivedFrames = 0;
  readonly #decoder = new HpackDecoder({ tableBytes: 4096, listBytes: 2 ** 20, mostFields: 1000, rememberedBlocks: 0 });
  #rest: Buffer = Buffer.alloc(0);
  #block: Buffer = Buffer.alloc(0);
  #wake: () => void = () => undefined;
  readonly #closed: Promise<void>;

  constructor(socket: Socket) {
    this.socket = socket;
    socket.on("error", () => undefined);
    socket.on("data", (chunk: Buffer) => this.#receive(chunk));
    this.#closed = new Promise((resolve) => {
      socket.once("close", () => {
        this.isClosed = true;
        this.#wake();
        resolve();
      });
    });
  }

  /** True once the server has ended the connection, or said that it will. */
  get isOver(): boolean {
    return this.isClosed || (this.goAway !== undefined && this.goAway.code !== 0);
  }

  /** Resolves when the system has taken the bytes, or the connection is gone. */
  async send(bytes: Buffer): Promise<void> {
    if (this.isClosed || this.socket.destroyed) return;
    if (!this.isOver) this.sentBytes += bytes.length;
    const written = new Promise<void>((resolve) => void this.socket.write(bytes, () => resolve()));
    await Promise.race([written, this.#closed]);
  }

  /** Waits until the condition holds; false if it does not within that time. */
  async until(condition: () => boolean, withinMs = 20_000): Promise<boolean> {
    const end = performance.now() + withinMs;
    while (!condition()) {
      const leftMs = end - performance.now();
      if (leftMs <= 0) return false;
      const woken = new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      await Promise.race([woken, sleep(Math.min(leftMs, 50))]);
    }
    return true;
  }

  /** Asks for an answer that comes after all that was sent before. False if the connection is over, or none comes. */
  async ping(mark: string, withinMs?: number): Promise<boolean> {
    await this.send(frame(TYPE.ping, FLAG.none, 0, Buffer.from(mark.padEnd(8).slice(0, 8))));
    await this.until(() => this.isOver || this.pings.includes(mark.padEnd(8).slice(0, 8)), withinMs);
    return this.pings.includes(mark.padEnd(8).slice(0, 8));
  }

  stream(id: number): ReceivedStream {
    const known = this.streams.get(id);
    if (known !== undefined) return known;
    const made: ReceivedStream = { heads: [], body: Buffer.alloc(0), end: "open", code: undefined };
    this.streams.set(id, made);
    return made;
  }

  close(): void {
    this.socket.destroy();
  }

  #receive(chunk: Buffer): void {
    this.receivedBytes += chunk.length;
    let rest = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    while (rest.length >= HEAD_BYTES) {
      const end = HEAD_BYTES + rest.readUIntBE(0, 3);
      if (rest.length < end) break;
      const [type = 0, flags = 0] = rest.subarray(3, 5);
      this.#frame({ type, flags, stream: rest.readUInt32BE(5), payload: rest.subarray(HEAD_BYTES, end) });
      rest = rest.subarray(end);
    }
    this.#rest = Buffer.from(rest);
    this.#wake();
  }

  #frame({ type, flags, stream, payload }: ReceivedFrame): void {
    this.receivedFrames += 1;
    if (type === GOAWAY) this.goAway ??= { code: payload.readUInt32BE(4), message: payload.toString("latin1", 8) };
    else if (type === TYPE.ping && (flags & FLAG.ack) !== 0) this.pings.push(payload.toString("latin1"));
    else if (type === TYPE.reset) Object.assign(this.stream(stream), { end: "reset", code: payload.readUInt32BE(0) });
    else if (type === TYPE.data) {
      const received = this.stream(stream);
      received.body = Buffer.concat([received.body, payload]);
    } else if (type === TYPE.headers || type === TYPE.continuation) {
      this.#block = Buffer.concat([this.#block, payload]);
      if ((flags & FLAG.endHeaders) !== 0) {
        this.stream(stream).heads.push(this.#decoder.decode(this.#block, 0, this.#block.length).fields);
        this.#block = Buffer.alloc(0);
      }
    }
    const canEnd = type === TYPE.data || type === TYPE.headers;
    if (canEnd && (flags & FLAG.endStream) !== 0) this.stream(stream).end = "ended";
  }
}

export async function connectRaw(port: number): Promise<RawConnection> {
  const socket = connect({ host: "127.0.0.1", port, noDelay: true });
  const connection = new RawConnection(socket);
  await once(socket, "connect");
  return connection;
}

/** Connects, and disconnects with the test. */
export async function openRaw(port: number): Promise<RawConnection> {
  const connection = await connectRaw(port);
  onTestFinished(() => connection.close());
  return connection;
}
