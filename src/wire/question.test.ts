import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Environment } from "#gen/claviger/v1/key_pb.js";
import { type VerifyRequest, VerifyRequestSchema } from "#gen/claviger/v1/key_verifier_pb.js";
import { decodePlainly } from "./question.ts";

const PREFIX = 5;
const framed = (message: Uint8Array) => Buffer.concat([Buffer.alloc(PREFIX, 0xff), message]);
const plain = ({ secret, requiredScopes, method, clientIp, cost, environment }: VerifyRequest) => ({
  ...{ secret, requiredScopes, method, clientIp },
  ...(cost === undefined ? {} : { cost }),
  environment,
});
/** What is absent is 0 to protobuf-es. */
const whole = (decoded: ReturnType<typeof decodePlainly>) => decoded && { environment: 0, ...decoded };

function decoded(message: Uint8Array): VerifyRequest | undefined {
  try {
    return fromBinary(VerifyRequestSchema, message);
  } catch {
    return undefined;
  }
}

const ascii = fc.string({ unit: "binary-ascii", maxLength: 300 });
const any = fc.string({ unit: "binary", maxLength: 300 });
const request = (text: fc.Arbitrary<string>, cost: fc.Arbitrary<number>) =>
  fc.record(
    {
      ...{ secret: text, requiredScopes: fc.array(text, { maxLength: 5 }), method: text, clientIp: text, cost },
      environment: fc.nat(3) as fc.Arbitrary<Environment>,
    },
    { requiredKeys: [] },
  );

describe("what is decoded plainly", () => {
  it("is every request of ASCII, as protobuf-es decodes it", () => {
    fc.assert(
      fc.property(request(ascii, fc.nat(16_383)), (fields) => {
        const message = create(VerifyRequestSchema, fields);
        expect(whole(decodePlainly(framed(toBinary(VerifyRequestSchema, message)), PREFIX))).toEqual(plain(message));
      }),
    );
  });

  it.each<[string, fc.Arbitrary<Uint8Array>]>([
    [
      "of any request",
      request(any, fc.integer()).map((fields) => toBinary(VerifyRequestSchema, create(VerifyRequestSchema, fields))),
    ],
    [
      "of two requests, one after the other",
      fc
        .tuple(request(ascii, fc.nat(99)), request(ascii, fc.nat(99)))
        .map((both) =>
          Buffer.concat(both.map((fields) => toBinary(VerifyRequestSchema, create(VerifyRequestSchema, fields)))),
        ),
    ],
    ["of any bytes", fc.uint8Array({ maxLength: 40 })],
    [
      "of tags and lengths",
      fc
        .array(fc.constantFrom(0x0a, 0x12, 0x1a, 0x22, 0x28, 0x30, 0x08, 0x2a, 0, 1, 2, 3, 0x80, 0x81, 0x61), {
          maxLength: 20,
        })
        .map((bytes) => Uint8Array.from(bytes)),
    ],
  ])("%s, is what protobuf-es makes of the same bytes, or nothing", (_, bytes) => {
    fc.assert(
      fc.property(bytes, (message) => {
        const own = decodePlainly(framed(message), PREFIX);
        const theirs = decoded(message);
        if (own !== undefined) expect(whole(own)).toEqual(theirs && plain(theirs));
      }),
      { numRuns: 2000 },
    );
  });
});
