import { encodeHeaders, encodeStatus } from "../../http2/hpack/encoder.ts";
import type { Http2Stream, StreamReceiver } from "../../http2/stream.ts";
import { clientGone } from "../router/router-errors.ts";
import { type BodySink, brokenOff, type HttpExchange } from "./exchange.ts";
import { MessageEnds } from "./message-ends.ts";
import { addressOf } from "./peer-address.ts";

/** The part of a body that has been read. */
export interface ReadBody {
  readonly bytes: Buffer;
  readonly isAll: boolean;
}

/** Has come, and is not listened to yet. */
interface Piece {
  readonly bytes: Buffer;
  readonly ends: readonly number[];
}

/** A stream as a request that is not served directly. Takes the stream over when it is made. */
export class Http2Exchange implements HttpExchange, StreamReceiver {
  readonly httpVersion = "2.0";
  readonly #stream: Http2Stream;
  readonly #messageEnds: MessageEnds | undefined;
  #waiting: Piece[] = [];
  #hasEnded = false;
  #sink: BodySink | undefined;
  #isDropped = false;
  readonly #abort = new AbortController();
  #wake: (() => void) | undefined;

  constructor(stream: Http2Stream, read?: ReadBody) {
    this.#stream = stream;
    this.#messageEnds = MessageEnds.in(stream.head.headers.get("content-type"));
    if (read !== undefined && read.bytes.length > 0) this.#take(read.bytes);
    this.#hasEnded = read?.isAll ?? false;
    stream.receiver = this;
    stream.pause();
  }

  get method(): string {
    return this.#stream.head.method;
  }

  get target(): string {
    return this.#stream.head.path;
  }

  get authority(): string | undefined {
    return this.#stream.head.authority || undefined;
  }

  get isEncrypted(): boolean {
    return "encrypted" in this.#stream.connection.socket;
  }

  get connection(): object {
    return this.#stream.connection;
  }

  get address(): string {
    return addressOf(this.#stream.connection.socket);
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  get isGone(): boolean {
    return this.#stream.isClosed;
  }

  header(name: string): string | undefined {
    return this.#stream.head.headers.get(name);
  }

  headers(): Headers {
    return new Headers([...this.#stream.head.headers]);
  }

  listen(sink: BodySink): void {
    this.#sink = sink;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const { bytes, ends } of waiting) sink.piece(bytes, ends);
    if (this.#hasEnded) sink.ended();
    else if (this.#stream.isClosed) sink.failed(brokenOff());
    else this.#stream.resume();
  }

  pause(): void {
    this.#stream.pause();
  }

  resume(): void {
    this.#stream.resume();
  }

  drop(): void {
    this.#isDropped = true;
    this.#sink = undefined;
    this.#waiting = [];
  }

  respond(status: number, header: Iterable<readonly [string, string]>, isLast: boolean): void {
    this.#stream.respond(Buffer.concat([encodeStatus(status), encodeHeaders(header)]), isLast);
  }

  write(bytes: Uint8Array): boolean {
    return this.#stream.write(bytes);
  }

  untilDrained(): Promise<void> {
    if (this.isGone) return Promise.resolve();
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }

  end(trailer?: Iterable<readonly [string, string]>): void {
    this.#stream.end(trailer === undefined ? undefined : encodeHeaders(trailer));
  }

  destroy(): void {
    this.#stream.reset();
  }

  #take(bytes: Buffer): void {
    const ends = this.#messageEnds?.of(bytes) ?? [];
    // As they come, not as they are read: many may wait for a handler meanwhile.
    if (ends.length > 0) this.#stream.connection.messagesCame(ends.length);
    if (this.#sink === undefined) this.#waiting.push({ bytes, ends });
    else this.#sink.piece(bytes, ends);
  }

  /* Events of the stream. */

  data(bytes: Buffer, from: number, to: number, isLast: boolean): void {
    // A copy: the bytes are good for this call only, and a view would keep the whole chunk.
    if (to > from && !this.#isDropped) this.#take(Buffer.from(bytes.subarray(from, to)));
    if (!isLast) return;
    this.#hasEnded = true;
    this.#sink?.ended();
  }

  closed(): void {
    const isBrokenOff = !this.#stream.isLocalEnded;
    if (!this.#hasEnded) this.#sink?.failed(brokenOff());
    // Without a reason, Node makes an exception with a stack trace for each call.
    this.#abort.abort(isBrokenOff ? clientGone() : "answered");
    this.drained();
  }

  drained(): void {
    const wake = this.#wake;
    this.#wake = undefined;
    wake?.();
  }
}
