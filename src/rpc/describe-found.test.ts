import { create, toBinary } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import fc from "fast-check";
import { expect, it } from "vitest";
import { VerifyResponseSchema } from "#gen/claviger/v1/key_verifier_pb.js";
import { fakeFound } from "../../testkit/fakes/fake-found.ts";
import type { FoundSecret } from "../keys/cached-secret.ts";
import type { JsonObject } from "../keys/key.ts";
import { endOfSecret, isLive } from "../keys/lifecycle.ts";
import { identityToProto } from "./codec/to-proto.ts";
import { describeFound } from "./describe-found.ts";

/** The same by protobuf-es. */
function encoded({ key, secret, now }: FoundSecret): Uint8Array {
  const { retireTime } = secret;
  const response = create(VerifyResponseSchema, {
    key: { ...identityToProto(key, () => undefined), secretVersion: secret.version },
    secretExpireTime: timestampFromDate(endOfSecret(secret)),
    ...(retireTime !== null && isLive(secret, now) ? { retireTime: timestampFromDate(retireTime) } : {}),
  });
  return toBinary(VerifyResponseSchema, response);
}

const word = fc.string({ unit: "binary", maxLength: 150 });
const time = fc.date({ min: new Date("0001-01-01"), max: new Date("9999-12-31"), noInvalidDate: true });
const key = fc.record({
  owner: word,
  displayName: word,
  environment: fc.constantFrom("live", "test"),
  scopes: fc.array(word, { maxLength: 5 }),
  labels: fc.dictionary(word, word, { maxKeys: 5 }),
  metadata: fc.option(
    fc.dictionary(word, fc.jsonValue({ noUnicodeString: false, maxDepth: 40 })) as fc.Arbitrary<JsonObject>,
  ),
});
const secret = fc.record({
  version: fc.integer({ min: 1, max: 2 ** 31 - 1 }),
  expireTime: time,
  retireTime: fc.option(time),
});

it("tells of a key and a secret, byte for byte, what protobuf-es would", () => {
  fc.assert(
    fc.property(key, secret, (key, secret) => {
      const found = fakeFound("key_0", { key: key as Partial<FoundSecret["key"]>, secret });
      expect(describeFound(found)).toBe(Buffer.from(encoded(found)).toString("latin1"));
    }),
    { numRuns: 1000 },
  );
});
