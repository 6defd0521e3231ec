/** Takes a body as it comes. */
export interface BodySink {
  /** The sink may keep it. `ends`: the places in it at which messages end; none where messages have no prefixes. */
  piece(bytes: Buffer, ends: readonly number[]): void;
  ended(): void;
  /** The body broke off. */
  failed(error: Error): void;
}

/** One request of either HTTP version, and its answer. Whatever is written to one that is gone is dropped. */
export interface HttpExchange {
  readonly httpVersion: "1.1" | "2.0";
  readonly method: string;
  /** Path and query. */
  readonly target: string;
  /** Undefined if the request has none. */
  readonly authority: string | undefined;
  readonly isEncrypted: boolean;
  /** The HTTP/2 connection or HTTP/1.1 socket. */
  readonly connection: object;
  /** The peer's address in the network; empty if the peer is gone. */
  readonly address: string;
  /** Aborted when the exchange is over, with an error if the client broke it off. */
  readonly signal: AbortSignal;
  /** Whether it is over, or its client is gone. */
  readonly isGone: boolean;
  /** By its name in lower case. */
  header(name: string): string | undefined;
  headers(): Headers;

  /** Has the body come from now on. Once. */
  listen(sink: BodySink): void;
  /** Holds the client of the body back, and lets it go on. */
  pause(): void;
  resume(): void;
  /** Nothing reads the rest of the body. */
  drop(): void;

  respond(status: number, header: Iterable<readonly [string, string]>, isLast: boolean): void;
  /** Returns false if the client has to take something first: see `untilDrained`. */
  write(bytes: Uint8Array): boolean;
  /** Resolves when there is room again, or the exchange is over. */
  untilDrained(): Promise<void>;
  end(trailer?: Iterable<readonly [string, string]>): void;
  /** Ends it after a failure, without an answer. */
  destroy(): void;
}

/** The body of a request did not come to its end. */
export function brokenOff(): Error {
  return new Error("the client went away before its request had all come");
}

/** Serves one request. Must not throw: no caller catches. */
export type HttpHandler = (exchange: HttpExchange) => void;

/** The path of a target, without its query. */
export function pathOf(target: string): string {
  const at = target.indexOf("?");
  return at === -1 ? target : target.slice(0, at);
}
