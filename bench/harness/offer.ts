import { setTimeout as sleep } from "node:timers/promises";
import { fromBinary } from "@bufbuild/protobuf";
import { Verdict, VerifyResponseSchema } from "#gen/claviger/v1/key_verifier_pb.js";
import { type RawAnswer, RawCalls } from "./raw-calls.ts";
import { VERIFY_PATH } from "./verify-turns.ts";

export interface Offered {
  readonly answered: number;
  /** Calls that ended in an error. */
  readonly refused: number;
  readonly verdicts: ReadonlyMap<string, number>;
  /** Until the last answer. */
  readonly seconds: number;
  /** Percentiles of answered calls, from the moment at which each was due. */
  readonly p50Ms: number;
  readonly p99Ms: number;
}

export interface OfferOptions {
  readonly url: string;
  readonly token: string;
  /** The body of each call. */
  readonly body: (call: number) => Buffer;
  readonly perSecond: number;
  readonly seconds: number;
  readonly connections?: number;
  /** Default: gRPC, which goes past the router. */
  readonly contentType?: string;
}

/** How long after each other calls are sent together, in milliseconds. */
const TICK_MS = 1;
const VERDICTS = new Map<number, string>(Object.entries(Verdict).map(([name, value]) => [value, name]));

/** Sends this many calls a second whatever their outcome, as many independent clients do (an open loop). */
export async function offer(options: OfferOptions): Promise<Offered> {
  const { url, token, body, perSecond, seconds, connections = 4 } = options;
  const headers = {
    "content-type": options.contentType ?? "application/grpc+proto",
    authorization: `Bearer ${token}`,
  };
  const verdicts = new Map<string, number>();
  const latencies: number[] = [];
  const total = Math.round(perSecond * seconds);
  const finished = Promise.withResolvers<void>();
  let [ended, refused] = [0, 0];
  const dueMs = (call: number) => began + (call / perSecond) * 1000;
  const onAnswer = (call: number, answer: RawAnswer) => {
    ended += 1;
    if (ended === total) finished.resolve();
    if (answer.body === undefined) {
      refused += 1;
      return;
    }
    latencies.push(performance.now() - dueMs(call));
    const verdict = verdictOf(answer.body);
    verdicts.set(verdict, (verdicts.get(verdict) ?? 0) + 1);
  };
  const all = await Promise.all(
    Array.from({ length: connections }, () => RawCalls.open({ url, path: VERIFY_PATH, headers, onAnswer })),
  );
  const began = performance.now();
  for (let sent = 0; sent < total; ) {
    const due = Math.min(total, ((performance.now() - began) / 1000) * perSecond);
    for (; sent < due; sent++) {
      (all[sent % connections] as RawCalls).add(sent, body(sent));
    }
    for (const calls of all) calls.flush();
    await sleep(TICK_MS);
  }
  await finished.promise;
  const took = (performance.now() - began) / 1000;
  for (const calls of all) calls.close();
  latencies.sort((a, b) => a - b);
  const at = (share: number) => latencies[Math.floor(latencies.length * share)] ?? 0;
  return { answered: latencies.length, refused, verdicts, seconds: took, p50Ms: at(0.5), p99Ms: at(0.99) };
}

function verdictOf(body: Buffer): string {
  const message = body.subarray(5, 5 + body.readUInt32BE(1));
  return VERDICTS.get(fromBinary(VerifyResponseSchema, message).verdict) ?? "UNSPECIFIED";
}
