import { type ClientHttp2Session, connect, constants } from "node:http2";
import { setTimeout as sleep } from "node:timers/promises";
import { fromBinary } from "@bufbuild/protobuf";
import { Verdict, VerifyResponseSchema } from "#gen/claviger/v1/key_verifier_pb.js";
import { VERIFY_PATH } from "./verify-turns.ts";

export interface Offered {
  readonly answered: number;
  /** Calls that ended in an error, by `grpc-status`. */
  readonly refused: ReadonlyMap<string, number>;
  readonly verdicts: ReadonlyMap<string, number>;
  /** Until the last answer. */
  readonly seconds: number;
  /** Of answered calls, from the moment at which each was due. */
  readonly p50Ms: number;
  readonly p99Ms: number;
}

export interface OfferOptions {
  readonly url: string;
  readonly token: string;
  readonly bodies: readonly Buffer[];
  readonly perSecond: number;
  readonly seconds: number;
  readonly connections?: number;
  /** Default: gRPC, which goes past the router. */
  readonly contentType?: string;
}

/** How long after each other calls are sent together, in milliseconds. */
const TICK_MS = 2;
const VERDICTS = new Map<number, string>(Object.entries(Verdict).map(([name, value]) => [value, name]));

/** Sends so many calls a second whatever becomes of them, as many independent clients do (an open loop). */
export async function offer(options: OfferOptions): Promise<Offered> {
  const { url, bodies, perSecond, seconds, connections = 4, contentType = "application/grpc+proto" } = options;
  const sessions = Array.from({ length: connections }, () => connect(url));
  const [verdicts, refused] = [new Map<string, number>(), new Map<string, number>()];
  const latencies: number[] = [];
  const count = (map: Map<string, number>, name: string) => map.set(name, (map.get(name) ?? 0) + 1);
  const pending: Promise<void>[] = [];
  const began = performance.now();
  for (let sent = 0; sent < perSecond * seconds; ) {
    const due = Math.min(perSecond * seconds, ((performance.now() - began) / 1000) * perSecond);
    for (; sent < due; sent++) {
      const session = sessions[sent % connections] as ClientHttp2Session;
      const dueMs = began + (sent / perSecond) * 1000;
      const body = bodies[(sent * 7919) % bodies.length] as Buffer;
      pending.push(
        ask(session, { token: options.token, contentType }, body).then(({ status, verdict }) => {
          if (verdict === undefined) return void count(refused, status);
          latencies.push(performance.now() - dueMs);
          count(verdicts, verdict);
        }),
      );
    }
    await sleep(TICK_MS);
  }
  await Promise.all(pending);
  const took = (performance.now() - began) / 1000;
  for (const session of sessions) session.close();
  latencies.sort((a, b) => a - b);
  const at = (share: number) => latencies[Math.floor(latencies.length * share)] ?? 0;
  return { answered: latencies.length, refused, verdicts, seconds: took, p50Ms: at(0.5), p99Ms: at(0.99) };
}

interface Answer {
  readonly status: string;
  readonly verdict?: string | undefined;
}

function ask(
  session: ClientHttp2Session,
  { token, contentType }: { readonly token: string; readonly contentType: string },
  body: Buffer,
): Promise<Answer> {
  return new Promise((resolve) => {
    const stream = session.request({
      [constants.HTTP2_HEADER_METHOD]: "POST",
      [constants.HTTP2_HEADER_PATH]: VERIFY_PATH,
      "content-type": contentType,
      te: "trailers",
      authorization: `Bearer ${token}`,
    });
    let status = "none";
    const chunks: Buffer[] = [];
    const read = (received: Readonly<Record<string, unknown>>) => {
      if (received["grpc-status"] !== undefined) status = String(received["grpc-status"]);
    };
    stream.on("response", read);
    stream.on("trailers", read);
    stream.on("error", () => undefined);
    stream.on("data", (chunk: Buffer) => chunks.push(chunk));
    stream.on("close", () => resolve({ status, verdict: verdictOf(status, chunks) }));
    stream.end(body);
  });
}

/** Of gRPC-Web, whose status comes as a frame of the body, whatever came with a message. */
function verdictOf(status: string, chunks: readonly Buffer[]): string | undefined {
  const bytes = Buffer.concat(chunks);
  if ((status !== "0" && status !== "none") || bytes.length < 5 || bytes[0] !== 0) return undefined;
  return VERDICTS.get(fromBinary(VerifyResponseSchema, bytes.subarray(5, 5 + bytes.readUInt32BE(1))).verdict);
}
