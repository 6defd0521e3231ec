import { RawCalls } from "./raw-calls.ts";

export interface LoadOptions {
  readonly url: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  /** The framed request of each turn. */
  readonly body: (turn: number) => Buffer;
  readonly requests: number;
  /** The number of calls whose duration is recorded. Default: all. */
  readonly first?: number;
  readonly connections: number;
  /** Under way at once on each connection. */
  readonly streams: number;
}

export interface LoadResult {
  readonly seconds: number;
  readonly secondsOfTheFirst: number;
  /** Milliseconds, in order. */
  readonly latencies: Float64Array;
  /** Answers without a message. */
  readonly failures: number;
}

/** Sends unary gRPC calls as fast as they are answered. h2load does so too, but with one body for all. */
export async function load(options: LoadOptions): Promise<LoadResult> {
  const { url, path, requests, first = requests, connections, streams, body } = options;
  const headers = { "content-type": "application/grpc+proto", ...options.headers };
  const [began, latencies] = [new Float64Array(requests), new Float64Array(requests)];
  let [turn, done, failures] = [0, 0, 0];
  let [start, secondsOfTheFirst] = [0, 0];
  const finished = Promise.withResolvers<void>();
  const next = (calls: RawCalls) => {
    if (turn === requests) return;
    began[turn] = performance.now();
    calls.add(turn, body(turn));
    turn += 1;
  };
  const all = await Promise.all(
    Array.from({ length: connections }, async () => {
      const calls: RawCalls = await RawCalls.open({
        ...{ url, path, headers },
        onAnswer(call, answer) {
          latencies[call] = performance.now() - (began[call] as number);
          if (answer.body === undefined) failures += 1;
          done += 1;
          if (done === first) secondsOfTheFirst = (performance.now() - start) / 1000;
          if (done === requests) finished.resolve();
          next(calls);
        },
      });
      return calls;
    }),
  );
  start = performance.now();
  for (const calls of all) {
    for (let stream = 0; stream < streams; stream++) next(calls);
    calls.flush();
  }
  await finished.promise;
  const seconds = (performance.now() - start) / 1000;
  for (const calls of all) calls.close();
  return { seconds, secondsOfTheFirst, latencies: latencies.sort(), failures };
}
