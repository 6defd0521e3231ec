import type { Http2Stream } from "../../http2/stream.ts";
import type { HttpHandler } from "../http/exchange.ts";
import { Http2Exchange, type ReadBody } from "../http/http2-exchange.ts";
import { createDirectSync, type DirectSyncOptions } from "./direct-sync.ts";
import { createDirectUnary, type DirectUnaryOptions } from "./direct-unary.ts";
import { AnswerBlocks } from "./plain-grpc.ts";

export interface DispatchOptions
  extends Pick<DirectUnaryOptions, "defaultDeadlineMs" | "maxDeadlineMs" | "maxMessageBytes" | "peers" | "onDefect"> {
  /** By paths that differ. */
  readonly unary: readonly DirectUnaryOptions["method"][];
  readonly sync: DirectSyncOptions["method"];
  readonly mostWaitingBytes: DirectSyncOptions["mostWaitingBytes"];
  /** Serves everything else. */
  readonly serve: HttpHandler;
}

/** Hands each HTTP/2 stream to the server of its path. */
export function createDispatch({ unary, sync, serve, ...options }: DispatchOptions): (stream: Http2Stream) => void {
  const route = (stream: Http2Stream, body?: ReadBody) => serve(new Http2Exchange(stream, body));
  const shared = { ...options, blocks: new AnswerBlocks(), route };
  const unaries = new Map(unary.map((method) => [method.path, createDirectUnary({ ...shared, method })]));
  const serveSync = createDirectSync({ ...shared, method: sync });
  return (stream) => {
    const { path } = stream.head;
    const serveUnary = unaries.get(path);
    if (serveUnary !== undefined) serveUnary(stream);
    else if (path === sync.path) serveSync(stream);
    else route(stream);
  };
}
