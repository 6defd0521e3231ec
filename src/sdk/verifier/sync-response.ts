import { fromBinary, type Message, toBinary } from "@bufbuild/protobuf";
import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";
import { type Empty, EmptySchema } from "@bufbuild/protobuf/wkt";
import { AnswerSchema, KeyVerifier, type SyncResponse, SyncResponseSchema } from "#gen/claviger/v1/key_verifier_pb.js";

/** An answer that cannot be decoded: the id of its question, and the cause. */
export class UnreadableAnswer {
  readonly id: bigint;
  readonly cause: unknown;

  constructor(id: bigint, cause: unknown) {
    this.id = id;
    this.cause = cause;
  }
}

/**
 * `Sync` with undecoded responses: a message without fields keeps the whole response as unknown fields. Connect itself
 * would decode each response, and end the stream at the first failure.
 */
export const RAW_SYNC = { ...KeyVerifier.method.sync, output: EmptySchema };

const ANSWER = SyncResponseSchema.field.answer.number;
const ID = AnswerSchema.field.id.number;

/**
 * Decodes a response of `RAW_SYNC`. An answer that cannot be decoded affects only its own question.
 *
 * @throws Error for any other message that cannot be decoded: a stream that loses a lease or a change is useless
 */
export function readSyncResponse(raw: Empty): SyncResponse | UnreadableAnswer {
  try {
    return fromBinary(SyncResponseSchema, toBinary(EmptySchema, raw));
  } catch (cause) {
    const answer = fieldOf(raw, { number: ANSWER, type: WireType.LengthDelimited });
    const id = answer && fieldOf(fromBinary(EmptySchema, answer.bytes()), { number: ID, type: WireType.Varint });
    if (id === undefined) throw cause;
    return new UnreadableAnswer(BigInt(id.int64()), cause);
  }
}

/** The last field of that number, because the last one counts. */
function fieldOf(
  { $unknown = [] }: Message,
  { number, type }: { readonly number: number; readonly type: WireType },
): BinaryReader | undefined {
  const field = $unknown.findLast(({ no, wireType }) => no === number && wireType === type);
  return field && new BinaryReader(field.data);
}
