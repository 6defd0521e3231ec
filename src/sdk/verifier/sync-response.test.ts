import { create, fromBinary, type JsonObject, toBinary } from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { EmptySchema } from "@bufbuild/protobuf/wkt";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { AnswerSchema, SyncResponseSchema, Verdict } from "#gen/claviger/v1/key_verifier_pb.js";
import { readSyncResponse, UnreadableAnswer } from "./sync-response.ts";

const ANSWER = SyncResponseSchema.field.answer.number;
const CHANGE = SyncResponseSchema.field.change.number;
const ID = 7n;

const read = (bytes: Uint8Array) => readSyncResponse(fromBinary(EmptySchema, bytes));

function withField(number: number, bytes: Uint8Array): Uint8Array {
  return new BinaryWriter().tag(number, WireType.LengthDelimited).bytes(bytes).finish();
}

/** An answer whose key has metadata of that depth: two messages for each level. */
function answerOfDepth(depth: number): Uint8Array {
  let metadata: JsonObject = {};
  for (let level = 0; level < depth; level++) metadata = { a: metadata };
  const value = { verdict: Verdict.VALID, key: { id: "k", metadata } };
  return toBinary(AnswerSchema, create(AnswerSchema, { id: ID, result: { case: "response", value } }));
}

describe("a response of a node", () => {
  it("is read unchanged", () => {
    const sent = create(SyncResponseSchema, { message: { case: "change", value: { sequence: 1n, keyIds: ["k"] } } });
    expect(read(toBinary(SyncResponseSchema, sent))).toEqual(sent);
  });

  it("with metadata that is too deep to decode affects only its question", () => {
    expect(read(withField(ANSWER, answerOfDepth(10)))).not.toBeInstanceOf(UnreadableAnswer);
    expect(read(withField(ANSWER, answerOfDepth(60)))).toMatchObject({ id: ID, cause: expect.any(Error) });
  });

  it("with arbitrary bytes after its id is read, or affects only its question", () => {
    const id = toBinary(AnswerSchema, create(AnswerSchema, { id: ID }));
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
        const response = read(withField(ANSWER, Buffer.concat([id, withField(2, bytes)])));
        if (response instanceof UnreadableAnswer) expect(response.id).toBe(ID);
        else expect(response.message).toMatchObject({ case: "answer", value: { id: ID } });
      }),
    );
  });

  it("that cannot be decoded and is not an answer ends the stream", () => {
    expect(() => read(withField(CHANGE, Buffer.from([0x12, 0x05, 0x61])))).toThrow();
  });

  it("that answers without a readable id ends the stream", () => {
    expect(() => read(withField(ANSWER, Buffer.from([0xff])))).toThrow();
    expect(() => read(withField(ANSWER, withField(2, Buffer.from([0xff]))))).toThrow();
  });
});
