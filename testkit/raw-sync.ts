import { type ClientHttp2Session, type ClientHttp2Stream, connect, type Settings } from "node:http2";
import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { SyncRequestSchema } from "#gen/claviger/v1/key_verifier_pb.js";
import { type GrpcRefusal, readRefusal } from "../test/clients/grpc-refusal.ts";

export type Said = NonNullable<MessageInitShape<typeof SyncRequestSchema>["message"]>;
export type RawHeaders = Readonly<Record<string, string | undefined>>;

/** Flags and length before each message. */
const PREFIX_BYTES = 5;

/** Headers that have plain gRPC served past the router, and through it: that knows deadlines. */
export const WAYS: readonly (readonly [name: string, headers: RawHeaders])[] = [
  ["past the router", {}],
  ["through the router", { "grpc-timeout": "20S" }],
];

export const GIVE_BACK = said({ case: "giveBack", value: {} });
export const LEASE = said({ case: "lease", value: { nonce: 1n } });

/** The bytes in which a verifier says something. */
export function said(message: Said): Buffer {
  return frame(toBinary(SyncRequestSchema, create(SyncRequestSchema, { message })));
}

/** A message as gRPC sends it, whether or not what is said before it is so. */
export function frame(message: Uint8Array, { flags = 0, length = message.length } = {}): Buffer {
  const prefix = Buffer.alloc(PREFIX_BYTES);
  prefix[0] = flags;
  prefix.writeUInt32BE(length, 1);
  return Buffer.concat([prefix, message]);
}

/** How a stream ended: its code, why, and how many messages came before. */
export type RawEnd = ({ readonly code: "OK" } | GrpcRefusal) & { readonly messages: number };

export interface RawStream {
  readonly session: ClientHttp2Session;
  readonly stream: ClientHttp2Stream;
  /** The headers and trailers that have arrived. */
  readonly trailers: Readonly<Record<string, unknown>>;
}

/** A call on a connection of its own, of Sync as the admin unless the headers say otherwise; nothing is read from it. */
export function openRaw(
  { url, adminToken }: { readonly url: string; readonly adminToken: string },
  headers: RawHeaders = {},
  settings: Settings = {},
): RawStream {
  const session = connect(url, { settings });
  const stream = session.request({
    ...{ ":method": "POST", ":path": "/claviger.v1.KeyVerifier/Sync", te: "trailers" },
    ...{ "content-type": "application/grpc+proto", authorization: `Bearer ${adminToken}`, ...headers },
  });
  const trailers = {};
  const note = (came: object) => void Object.assign(trailers, came);
  stream
    .on("response", note)
    .on("trailers", note)
    .on("error", () => undefined);
  return { session, stream, trailers };
}

/** Reads the call to its end, and hangs up. */
export async function endOf({ session, stream, trailers }: RawStream): Promise<RawEnd> {
  const chunks: Buffer[] = [];
  stream.on("data", (chunk: Buffer) => chunks.push(chunk));
  if (!stream.destroyed) await new Promise((resolve) => stream.on("end", resolve).on("close", resolve));
  session.destroy();
  const messages = countOf(Buffer.concat(chunks));
  const { "grpc-status": status, "grpc-status-details-bin": details } = trailers;
  if (status === undefined) throw new Error(`it ended without a status, after ${messages} messages`);
  if (status === "0") return { code: "OK", messages };
  return { ...readRefusal(Number(status), typeof details === "string" ? details : undefined), messages };
}

/** Writes the chunks, each in a turn of its own, and ends the stream. */
export async function sayAll({ stream }: RawStream, chunks: readonly Buffer[]): Promise<void> {
  for (const chunk of chunks) {
    if (stream.destroyed || stream.closed) break;
    stream.write(chunk);
    await new Promise((done) => setImmediate(done));
  }
  stream.end();
}

function countOf(bytes: Buffer): number {
  let count = 0;
  for (let at = 0; at + PREFIX_BYTES <= bytes.length; count += 1) at += PREFIX_BYTES + bytes.readUInt32BE(at + 1);
  return count;
}
