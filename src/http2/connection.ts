import type { Socket } from "node:net";
import { type BudgetLimits, ConnectionBudget } from "./budgets.ts";
import { readSettings } from "./client-settings.ts";
import { ControlFrames } from "./control-frames.ts";
import { FrameReader, type FrameSink } from "./frame-reader.ts";
import {
  ConnectionError,
  ErrorCode,
  FIRST_WINDOW,
  Flag,
  flowControlError,
  frameSizeError,
  LARGEST_STREAM_ID,
  LARGEST_WINDOW,
  protocolError,
  Type,
} from "./frames.ts";
import { type HeaderBlock, HeaderBlocks } from "./header-blocks.ts";
import { HpackDecoder } from "./hpack/decoder.ts";
import { HpackError } from "./hpack/error.ts";
import { LeftStreams } from "./left-streams.ts";
import { Output, type Slabs } from "./output.ts";
import { isValidTrailers, RequestHead, requestHeadOf } from "./request-head.ts";
import { Sender } from "./sender.ts";
import { Http2Stream, type StreamConnection } from "./stream.ts";

/** The bounds of one connection. */
export interface Http2Limits extends BudgetLimits {
  /** Streams open at once (SETTINGS_MAX_CONCURRENT_STREAMS). */
  readonly maxConcurrentStreams: number;
  /** Bytes of one request's header list, as section 6.5.2 counts them, and its fields. */
  readonly headerListBytes: number;
  readonly maxHeaders: number;
}

export interface Http2ConnectionOptions {
  readonly limits: Http2Limits;
  readonly slabs: Slabs;
  readonly monotonicMs: () => number;
  /** A request came. Sets the stream's receiver, and may answer at once. */
  readonly onStream: (stream: Http2Stream) => void;
  /** A stream that came is over. */
  readonly onClosed: (stream: Http2Stream) => void;
  /** Calls `flush` of the connection later in the same turn: bytes that a receiver wrote outside of its methods wait. */
  readonly flushSoon: (connection: Http2Connection) => void;
  /** Called with each exception of a receiver: its stream is reset. */
  readonly onDefect: (error: unknown) => void;
}

/** The window of the connection, returned when half of it is used. */
const CONNECTION_WINDOW = 1024 * 1024;
/** Header blocks that are recognised by their bytes. */
const REMEMBERED_BLOCKS = 64;
/** The opaque data of the PING that finds out when a client has seen the first GOAWAY. */
const DRAIN_PING = Buffer.from("draining");
const NOTHING = Buffer.alloc(0);

/** One HTTP/2 connection of a client (RFC 9113). Owns the socket's events from its creation on. */
export class Http2Connection implements FrameSink, StreamConnection {
  readonly socket: Socket;
  readonly #options: Http2ConnectionOptions;
  readonly #output: Output;
  readonly #control: ControlFrames;
  readonly #sender: Sender;
  readonly #reader: FrameReader;
  readonly #decoder: HpackDecoder;
  readonly #streams = new Map<number, Http2Stream>();
  readonly #left: LeftStreams;
  /** Streams that are answered though their request is not complete. */
  #early: Http2Stream[] = [];
  readonly #budget: ConnectionBudget;
  readonly #blocks = new HeaderBlocks();
  /** Whether the client's first SETTINGS has come. */
  #hasSettings = false;
  #lastId = 0;
  /** Bytes of DATA that no WINDOW_UPDATE of the connection has returned. */
  #takenBytes = 0;
  #callCount = 0;
  #isReading = false;
  #isFlushAsked = false;
  #drain: "none" | "announced" | "final" = "none";
  #isEnded = false;
  #isCutOff = false;

  constructor(socket: Socket, options: Http2ConnectionOptions) {
    const { limits, slabs, monotonicMs } = options;
    this.socket = socket;
    this.#options = options;
    this.#output = new Output(socket, slabs);
    this.#control = new ControlFrames(this.#output);
    this.#left = new LeftStreams(limits.maxConcurrentStreams);
    this.#sender = new Sender({
      output: this.#output,
      onAnswered: (stream) => this.#answered(stream),
      onData: (bytes, isEnd) => this.#budget.sent(bytes, isEnd),
      onDrained: (stream) => this.#drained(stream),
    });
    this.#reader = new FrameReader(this);
    this.#decoder = new HpackDecoder({
      tableBytes: 4096,
      listBytes: limits.headerListBytes,
      mostFields: limits.maxHeaders,
      rememberedBlocks: REMEMBERED_BLOCKS,
    });
    this.#budget = new ConnectionBudget(limits, monotonicMs);
    this.#greet();
    socket.on("data", (chunk: Buffer) => this.#receive(chunk));
    socket.on("drain", () => this.#onDrain());
    socket.on("close", () => this.#gone());
  }

  /** Streams that are open. */
  get streams(): Iterable<Http2Stream> {
    return this.#streams.values();
  }

  get openStreams(): number {
    return this.#streams.size;
  }

  /** Streams so far. */
  get callCount(): number {
    return this.#callCount;
  }

  get isGreeted(): boolean {
    return this.#reader.isGreeted;
  }

  /** Whether a header block is not whole yet. */
  get isMidBlock(): boolean {
    return this.#blocks.isOpen;
  }

  /** True once it was ended for abuse. */
  get isCutOff(): boolean {
    return this.#isCutOff;
  }

  get isEnded(): boolean {
    return this.#isEnded;
  }

  /** Whether the client does not take what is written to it. */
  get isBlocked(): boolean {
    return this.#output.isBlocked;
  }

  messagesCame(count: number): void {
    this.#budget.messagesCame(count);
  }

  /* For streams. */

  respond(stream: Http2Stream, block: Uint8Array, isLast: boolean): void {
    if (stream.isClosed || stream.isAnswered) return;
    this.#sender.respond(stream, block, isLast);
    this.#flushSoon();
  }

  write(stream: Http2Stream, bytes: Uint8Array): boolean {
    if (stream.isClosed || stream.isAnswered) return true;
    const hasRoom = this.#sender.write(stream, bytes);
    this.#flushSoon();
    return hasRoom;
  }

  end(stream: Http2Stream, trailers: Uint8Array | undefined): void {
    if (stream.isClosed || stream.isAnswered) return;
    this.#sender.end(stream, trailers);
    this.#flushSoon();
  }

  answer(stream: Http2Stream, block: Uint8Array, message: Uint8Array, trailers: Uint8Array): void {
    if (stream.isClosed || stream.isAnswered) return;
    this.#sender.answer(stream, block, message, trailers);
    this.#flushSoon();
  }

  reset(stream: Http2Stream, code: ErrorCode): void {
    if (stream.isClosed) return;
    this.#control.reset(stream.id, code);
    this.#leave(stream);
    this.#close(stream);
    this.#flushSoon();
  }

  resume(stream: Http2Stream): void {
    if (!stream.isPaused) return;
    stream.isPaused = false;
    this.#acknowledge(stream);
    this.#flushSoon();
  }

  /** Takes no more streams; ends the connection once the open ones are answered (RFC 9113, section 6.8). */
  drain(): void {
    if (this.#drain !== "none" || this.#isEnded) return;
    this.#drain = "announced";
    this.#control.goAway(LARGEST_STREAM_ID, ErrorCode.noError, "");
    this.#control.ping(DRAIN_PING);
    this.#flushSoon();
  }

  /** The second step of `drain`, at the client's PING, or when it does not answer. */
  finishDrain(): void {
    if (this.#drain !== "announced" || this.#isEnded) return;
    this.#drain = "final";
    this.#control.goAway(this.#lastId, ErrorCode.noError, "");
    this.#endIfDrained();
    this.#flushSoon();
  }

  /** Ends the connection at once, open streams with it. */
  terminate(code: ErrorCode, message = ""): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#control.goAway(this.#lastId, code, message);
    this.#output.flush();
    this.#closeAll();
    this.socket.end();
  }

  /** Ends the connection for abuse. */
  cutOff(message: string): void {
    this.#isCutOff = true;
    this.terminate(ErrorCode.enhanceYourCalm, message);
  }

  flush(): void {
    this.#isFlushAsked = false;
    if (this.#early.length > 0) this.#stopEarly();
    this.#output.flush();
    if (this.#output.isBlocked) this.socket.pause();
  }

  /* Frames of the client. */

  #receive(chunk: Buffer): void {
    // Bytes after the end are dropped until the socket is closed.
    if (this.#isEnded) return;
    this.#isReading = true;
    try {
      this.#reader.read(chunk);
    } catch (error) {
      this.#fail(error);
    }
    this.#isReading = false;
    this.flush();
  }

  #fail(error: unknown): void {
    if (error instanceof HpackError) this.terminate(ErrorCode.compressionError, error.message);
    else if (!(error instanceof ConnectionError)) {
      this.#options.onDefect(error);
      this.terminate(ErrorCode.internalError);
    } else if (error.code === ErrorCode.enhanceYourCalm) this.cutOff(error.message);
    else this.terminate(error.code, error.message);
  }

  frame(type: number, flags: number, streamId: number, bytes: Buffer, from: number, to: number): void {
    // The rest of the chunk in which the connection ended.
    if (this.#isEnded) return;
    if (!this.#hasSettings) this.#takeFirst(type, flags);
    if (this.#blocks.isOpen && (type !== Type.continuation || streamId !== this.#blocks.openStreamId)) {
      throw protocolError("a header block is interrupted by another frame");
    }
    if (type === Type.data) this.#onData(flags, streamId, bytes, from, to);
    else if (type === Type.headers) this.#onHeaders(flags, streamId, bytes, from, to);
    else if (type === Type.windowUpdate) this.#onWindowUpdate(streamId, bytes, from, to);
    else this.#onOther(type, flags, streamId, bytes, from, to);
  }

  /** By RFC 9113, section 3.4. */
  #takeFirst(type: number, flags: number): void {
    if (type !== Type.settings || (flags & Flag.ack) !== 0) throw protocolError("the first frame is not SETTINGS");
    this.#hasSettings = true;
  }

  #onOther(type: number, flags: number, streamId: number, bytes: Buffer, from: number, to: number): void {
    this.#budget.charge(to - from);
    switch (type) {
      case Type.continuation:
        this.#onBlock(this.#blocks.goOn(flags, bytes, from, to));
        break;
      case Type.rstStream:
        this.#onReset(streamId, to - from);
        break;
      case Type.settings:
        this.#onSettings(flags, streamId, bytes, from, to);
        break;
      case Type.ping:
        this.#onPing(flags, streamId, bytes, from, to);
        break;
      case Type.priority:
        this.#onPriority(streamId, bytes, from, to);
        break;
      case Type.goaway:
        if (streamId !== 0) throw protocolError("GOAWAY on a stream");
        if (to - from < 8) throw frameSizeError("GOAWAY");
        break;
      case Type.pushPromise:
        throw protocolError("a client cannot push");
    }
  }

  #onHeaders(flags: number, id: number, bytes: Buffer, from: number, to: number): void {
    if ((id & 1) === 0) throw protocolError("HEADERS on a stream of the server's");
    this.#onBlock(this.#blocks.begin(flags, id, bytes, from, to));
  }

  #onBlock(block: HeaderBlock | undefined): void {
    if (block === undefined) return;
    const { streamId: id, isLast } = block;
    const list = this.#decoder.decode(block.bytes, block.from, block.to);
    if (id <= this.#lastId) {
      const known = this.#streams.get(id);
      if (known === undefined || known.isRemoteEnded) this.#onClosedStream(id, "HEADERS");
      else if (!isLast || !isValidTrailers(list)) this.#refuse(id, ErrorCode.protocolError);
      else this.#bodyEnds(known, NOTHING, 0, 0);
      return;
    }
    this.#lastId = id;
    this.#callCount += 1;
    const head = list.isTooLarge ? undefined : requestHeadOf(list);
    if (head === undefined) this.#refuse(id, ErrorCode.enhanceYourCalm);
    else if (!(head instanceof RequestHead) || block.dependency === id) this.#refuse(id, ErrorCode.protocolError);
    else if (!this.#hasRoom()) this.#refuse(id, ErrorCode.refusedStream);
    else this.#begin(new Http2Stream(this, id, head, this.#sender.streamWindow), isLast);
  }

  #hasRoom(): boolean {
    return this.#drain !== "final" && this.#streams.size < this.#options.limits.maxConcurrentStreams;
  }

  #begin(stream: Http2Stream, isLast: boolean): void {
    this.#streams.set(stream.id, stream);
    this.#budget.callBegan();
    try {
      this.#options.onStream(stream);
    } catch (error) {
      this.#onDefect(stream, error);
    }
    if (isLast && !stream.isClosed) this.#bodyEnds(stream, NOTHING, 0, 0);
  }

  #onData(flags: number, id: number, bytes: Buffer, from: number, to: number): void {
    const size = to - from;
    this.#countTaken(size);
    if (id === 0) throw protocolError("DATA on no stream");
    const isPadded = (flags & Flag.padded) !== 0;
    const begin = isPadded ? from + 1 : from;
    if (begin > to) throw frameSizeError("DATA");
    const end = isPadded ? to - (bytes[from] as number) : to;
    if (begin > end) throw protocolError("more padding than payload");
    const isLast = (flags & Flag.endStream) !== 0;
    const stream = this.#streams.get(id);
    if (stream === undefined) this.#onLateData(id, size, isLast);
    else if (stream.isRemoteEnded) this.#onClosedStream(id, "DATA");
    else if (stream.receiveWindow < size) this.#refuse(id, ErrorCode.flowControlError);
    else if (isLast) this.#bodyEnds(stream, bytes, begin, end);
    else {
      stream.receiveWindow -= size;
      stream.unacknowledged += size;
      this.#bodyGoesOn(stream, bytes, begin, end);
    }
  }

  /** All DATA counts as taken at once: the windows of streams bound the bytes that receivers leave. */
  #countTaken(bytes: number): void {
    this.#takenBytes += bytes;
    if (this.#takenBytes < CONNECTION_WINDOW / 2) return;
    this.#control.windowUpdate(0, this.#takenBytes);
    this.#takenBytes = 0;
  }

  /** The client could not know yet that the stream is over. */
  #onLateData(id: number, bytes: number, isLast: boolean): void {
    if (id > this.#lastId) throw protocolError("DATA on a stream that was not opened");
    if (!this.#left.has(id)) throw new ConnectionError(ErrorCode.streamClosed, "DATA on a stream that is over");
    if (isLast) this.#left.delete(id);
    this.#budget.late(bytes);
  }

  #bodyGoesOn(stream: Http2Stream, bytes: Buffer, from: number, to: number): void {
    this.#budget.piece(to - from);
    if (from === to) this.#budget.charge(0);
    if (!this.#hasFittingLength(stream, to - from, false)) {
      this.#refuse(stream.id, ErrorCode.protocolError);
      return;
    }
    if (!stream.isAnswered) this.#hand(stream, bytes, from, to, false);
    if (!stream.isPaused && stream.unacknowledged >= FIRST_WINDOW / 2) this.#acknowledge(stream);
  }

  #bodyEnds(stream: Http2Stream, bytes: Buffer, from: number, to: number): void {
    stream.isRemoteEnded = true;
    if (!this.#hasFittingLength(stream, to - from, true)) this.#refuse(stream.id, ErrorCode.protocolError);
    else if (stream.isLocalEnded) this.#close(stream);
    else if (!stream.isAnswered) this.#hand(stream, bytes, from, to, true);
  }

  /** By RFC 9113, section 8.1.1. */
  #hasFittingLength(stream: Http2Stream, bytes: number, isLast: boolean): boolean {
    stream.received += bytes;
    const { contentLength } = stream.head;
    if (contentLength === undefined) return true;
    return isLast ? stream.received === contentLength : stream.received <= contentLength;
  }

  #hand(stream: Http2Stream, bytes: Buffer, from: number, to: number, isLast: boolean): void {
    try {
      stream.receiver?.data(bytes, from, to, isLast);
    } catch (error) {
      this.#onDefect(stream, error);
    }
  }

  #drained(stream: Http2Stream): void {
    try {
      stream.receiver?.drained();
    } catch (error) {
      this.#onDefect(stream, error);
    }
  }

  #onWindowUpdate(id: number, bytes: Buffer, from: number, to: number): void {
    if (to - from !== 4) throw frameSizeError("WINDOW_UPDATE");
    this.#budget.charge(4);
    const more = bytes.readUInt32BE(from) & LARGEST_WINDOW;
    if (id === 0) {
      if (more === 0) throw protocolError("WINDOW_UPDATE of nothing");
      if (this.#sender.widen(undefined, more) === "tooLarge") throw windowTooLarge();
      return;
    }
    if (id > this.#lastId) throw protocolError("WINDOW_UPDATE on a stream that was not opened");
    const stream = this.#streams.get(id);
    if (stream === undefined) return;
    if (more === 0) this.#refuse(id, ErrorCode.protocolError);
    else if (this.#sender.widen(stream, more) === "tooLarge") this.#refuse(id, ErrorCode.flowControlError);
  }

  #onReset(id: number, size: number): void {
    if (size !== 4) throw frameSizeError("RST_STREAM");
    if (id === 0 || id > this.#lastId) throw protocolError("RST_STREAM on a stream that was not opened");
    this.#left.delete(id);
    const stream = this.#streams.get(id);
    if (stream === undefined) return;
    this.#budget.reset();
    this.#close(stream);
  }

  #onSettings(flags: number, id: number, bytes: Buffer, from: number, to: number): void {
    if (id !== 0) throw protocolError("SETTINGS on a stream");
    const size = to - from;
    const isAck = (flags & Flag.ack) !== 0;
    if (size % 6 !== 0 || (isAck && size > 0)) throw frameSizeError("SETTINGS");
    if (isAck) return;
    const { streamWindow, hasTableSize } = readSettings(bytes, from, to);
    if (hasTableSize) this.#sender.tableSizeChanged();
    // Before any DATA that the new window lets through.
    this.#control.settingsAck();
    if (streamWindow === undefined) return;
    if (this.#sender.setStreamWindow(streamWindow, this.#streams.values()) === "tooLarge") throw windowTooLarge();
  }

  #onPing(flags: number, id: number, bytes: Buffer, from: number, to: number): void {
    if (id !== 0) throw protocolError("PING on a stream");
    if (to - from !== 8) throw frameSizeError("PING");
    if ((flags & Flag.ack) !== 0) {
      if (DRAIN_PING.compare(bytes, from, to) === 0) this.finishDrain();
      return;
    }
    this.#control.pingAck(bytes, from, to);
  }

  /** Priorities are read and dropped (RFC 9113, section 5.3). */
  #onPriority(id: number, bytes: Buffer, from: number, to: number): void {
    if (id === 0) throw protocolError("PRIORITY on no stream");
    const isForItself = to - from === 5 && (bytes.readUInt32BE(from) & LARGEST_STREAM_ID) === id;
    if (to - from !== 5) this.#refuse(id, ErrorCode.frameSizeError);
    else if (isForItself) this.#refuse(id, ErrorCode.protocolError);
  }

  /** A frame on a stream that is over, or that the client has ended: its fault, unless it could not know. */
  #onClosedStream(id: number, frame: string): void {
    if (!this.#left.has(id)) throw new ConnectionError(ErrorCode.streamClosed, `${frame} on a stream that is over`);
    this.#budget.charge(0);
  }

  /* The life of streams. */

  #onDefect(stream: Http2Stream, error: unknown): void {
    this.#options.onDefect(error);
    this.reset(stream, ErrorCode.internalError);
  }

  /** Resets a stream for a fault of the client's. */
  #refuse(id: number, code: ErrorCode): void {
    this.#budget.reset();
    this.#control.reset(id, code);
    const stream = this.#streams.get(id);
    if (stream === undefined) {
      if (id > this.#lastId) return;
      this.#remember(id, FIRST_WINDOW);
      return;
    }
    this.#leave(stream);
    this.#close(stream);
  }

  #answered(stream: Http2Stream): void {
    stream.isLocalEnded = true;
    if (stream.isRemoteEnded) this.#close(stream);
    else this.#early.push(stream);
  }

  /** The client of a stream that is answered need not send the rest of its request (RFC 9113, section 8.1). */
  #stopEarly(): void {
    const early = this.#early;
    this.#early = [];
    for (const stream of early) if (!stream.isClosed) this.reset(stream, ErrorCode.noError);
  }

  #leave(stream: Http2Stream): void {
    if (!stream.isRemoteEnded) this.#remember(stream.id, stream.receiveWindow);
  }

  /** The client may send on a stream until it knows of its end. */
  #remember(id: number, bytes: number): void {
    this.#left.add(id);
    this.#budget.expectLate(bytes);
  }

  #close(stream: Http2Stream): void {
    if (stream.isClosed) return;
    stream.isClosed = true;
    this.#streams.delete(stream.id);
    if (stream.waiting !== undefined) this.#sender.forget(stream);
    try {
      this.#options.onClosed(stream);
      stream.receiver?.closed();
    } catch (error) {
      this.#options.onDefect(error);
    }
    this.#endIfDrained();
  }

  #closeAll(): void {
    for (const stream of [...this.#streams.values()]) this.#close(stream);
  }

  #endIfDrained(): void {
    if (this.#drain !== "final" || this.#streams.size > 0 || this.#isEnded) return;
    this.#isEnded = true;
    this.#output.flush();
    this.socket.end();
  }

  #gone(): void {
    this.#isEnded = true;
    this.#closeAll();
  }

  #onDrain(): void {
    this.#output.isBlocked = false;
    this.#sender.sendWaiting();
    this.flush();
    if (!this.#output.isBlocked) this.socket.resume();
  }

  #greet(): void {
    const { maxConcurrentStreams, headerListBytes } = this.#options.limits;
    this.#control.settings({ maxConcurrentStreams, maxHeaderListSize: headerListBytes });
    this.#control.windowUpdate(0, CONNECTION_WINDOW - FIRST_WINDOW);
    this.#output.flush();
  }

  #acknowledge(stream: Http2Stream): void {
    if (stream.unacknowledged === 0 || stream.isRemoteEnded || stream.isClosed) return;
    this.#control.windowUpdate(stream.id, stream.unacknowledged);
    stream.receiveWindow += stream.unacknowledged;
    stream.unacknowledged = 0;
  }

  #flushSoon(): void {
    if (this.#isReading || this.#isFlushAsked) return;
    this.#isFlushAsked = true;
    this.#options.flushSoon(this);
  }
}

function windowTooLarge(): ConnectionError {
  return flowControlError("a window is larger than 2^31-1");
}
