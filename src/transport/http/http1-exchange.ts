import type { IncomingMessage, ServerResponse } from "node:http";
import { clientGone } from "../router/router-errors.ts";
import { type BodySink, brokenOff, type HttpExchange } from "./exchange.ts";
import { MessageEnds } from "./message-ends.ts";
import { addressOf } from "./peer-address.ts";

/** The tiny pieces of bodies on one connection: see `PieceCount`. */
export interface BodyPieces {
  /** So many messages came whole. */
  messagesCame(count: number): void;
  /** A piece came. Ends the connection if it is one too many. */
  count(bytes: number): void;
}

/** A request of Node's server as an exchange. */
export class Http1Exchange implements HttpExchange {
  readonly httpVersion = "1.1";
  readonly #req: IncomingMessage;
  readonly #res: ServerResponse;
  readonly #pieces: BodyPieces;
  readonly #messageEnds: MessageEnds | undefined;
  readonly #abort = new AbortController();
  #sink: BodySink | undefined;

  constructor(req: IncomingMessage, res: ServerResponse, pieces: BodyPieces) {
    this.#req = req;
    this.#res = res;
    this.#pieces = pieces;
    this.#messageEnds = MessageEnds.in(req.headers["content-type"]);
    // Node closes a request when it has been read; the answer is closed when the exchange is over.
    res.once("close", () => {
      const isBrokenOff = !res.writableFinished;
      // Without a reason, Node makes an exception with a stack trace for each call.
      this.#abort.abort(isBrokenOff ? clientGone() : "answered");
    });
  }

  get method(): string {
    return this.#req.method ?? "";
  }

  get target(): string {
    return this.#req.url ?? "";
  }

  get authority(): string | undefined {
    return this.#req.headers.host;
  }

  get isEncrypted(): boolean {
    return "encrypted" in this.#req.socket;
  }

  get connection(): object {
    return this.#req.socket;
  }

  get address(): string {
    return addressOf(this.#req.socket);
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  get isGone(): boolean {
    return this.#res.destroyed || this.#res.closed;
  }

  header(name: string): string | undefined {
    const value = this.#req.headers[name];
    return typeof value === "string" ? value : value?.join(", ");
  }

  headers(): Headers {
    const headers = new Headers();
    for (const [name, value] of Object.entries(this.#req.headers)) {
      if (typeof value === "string") headers.set(name, value);
      else for (const each of value ?? []) headers.append(name, each);
    }
    return headers;
  }

  listen(sink: BodySink): void {
    const req = this.#req;
    this.#sink = sink;
    if (req.readableEnded) sink.ended();
    else if (req.destroyed) sink.failed(brokenOff());
    else {
      req.on("data", this.#onData).on("end", this.#onEnd).on("close", this.#onClose);
      req.on("error", (error) => void this.#sink?.failed(error));
      req.resume();
    }
  }

  pause(): void {
    this.#req.pause();
  }

  resume(): void {
    this.#req.resume();
  }

  drop(): void {
    const req = this.#req;
    const isListening = this.#sink !== undefined;
    this.#sink = undefined;
    if (req.complete || req.destroyed) return;
    if (!isListening) req.on("data", this.#onData);
    req.resume();
  }

  respond(status: number, header: Iterable<readonly [string, string]>, isLast: boolean): void {
    if (this.isGone) return;
    this.#res.writeHead(status, Object.fromEntries(header));
    if (isLast) this.#res.end();
  }

  write(bytes: Uint8Array): boolean {
    return this.isGone || this.#res.write(bytes);
  }

  untilDrained(): Promise<void> {
    const res = this.#res;
    if (this.isGone) return Promise.resolve();
    return new Promise((resolve) => {
      function done(): void {
        res.off("drain", done).off("close", done);
        resolve();
      }
      res.on("drain", done).on("close", done);
    });
  }

  end(trailer?: Iterable<readonly [string, string]>): void {
    if (this.isGone) return;
    if (trailer !== undefined) this.#res.addTrailers(Object.fromEntries(trailer));
    this.#res.end();
  }

  destroy(): void {
    this.#res.destroy();
  }

  readonly #onData = (piece: Buffer): void => {
    this.#pieces.count(piece.length);
    if (this.#sink === undefined) return;
    const ends = this.#messageEnds?.of(piece) ?? [];
    if (ends.length > 0) this.#pieces.messagesCame(ends.length);
    this.#sink.piece(piece, ends);
  };

  readonly #onEnd = (): void => {
    this.#sink?.ended();
  };

  readonly #onClose = (): void => {
    if (!this.#req.readableEnded) this.#sink?.failed(brokenOff());
  };
}
