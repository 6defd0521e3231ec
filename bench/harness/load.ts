import { type ClientHttp2Session, connect, constants } from "node:http2";

export interface LoadOptions {
  readonly url: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  /** The framed request of each turn. */
  readonly body: (turn: number) => Buffer;
  readonly requests: number;
  readonly connections: number;
  /** Under way at once on each connection. */
  readonly streams: number;
}

export interface LoadResult {
  readonly seconds: number;
  /** Milliseconds, in order. */
  readonly latencies: Float64Array;
  /** Answers with another `grpc-status` than 0, and none. */
  readonly failures: number;
}

/** Sends unary gRPC calls over HTTP/2 as fast as they are answered; a small client of our own, where h2load is not to be had. */
export async function load(options: LoadOptions): Promise<LoadResult> {
  const { url, requests, connections, streams } = options;
  const sessions = await Promise.all(Array.from({ length: connections }, () => open(url)));
  const latencies = new Float64Array(requests);
  let [turn, failures] = [0, 0];
  const work = async (session: ClientHttp2Session) => {
    while (turn < requests) {
      const own = turn++;
      const began = performance.now();
      if (!(await ask(session, options, own))) failures += 1;
      latencies[own] = performance.now() - began;
    }
  };
  const began = performance.now();
  await Promise.all(sessions.flatMap((session) => Array.from({ length: streams }, () => work(session))));
  const seconds = (performance.now() - began) / 1000;
  for (const session of sessions) session.close();
  return { seconds, latencies: latencies.sort(), failures };
}

function open(url: string): Promise<ClientHttp2Session> {
  const session = connect(url);
  return new Promise((resolve, reject) => {
    session.once("connect", () => resolve(session));
    session.once("error", reject);
  });
}

function ask(session: ClientHttp2Session, { path, headers, body }: LoadOptions, turn: number): Promise<boolean> {
  return new Promise((resolve) => {
    const stream = session.request({
      [constants.HTTP2_HEADER_METHOD]: "POST",
      [constants.HTTP2_HEADER_PATH]: path,
      "content-type": "application/grpc+proto",
      te: "trailers",
      ...headers,
    });
    let status: unknown;
    const read = (received: Readonly<Record<string, unknown>>) => {
      status = received["grpc-status"] ?? status;
    };
    stream.on("response", read);
    stream.on("trailers", read);
    stream.on("error", () => undefined);
    stream.on("close", () => resolve(status === "0"));
    stream.resume();
    stream.end(body(turn));
  });
}
