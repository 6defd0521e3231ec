import type { DescMessage } from "@bufbuild/protobuf";
import fc from "fast-check";
import { expect, it } from "vitest";
import {
  CreateKeyRequestSchema,
  RotateKeyRequestSchema,
  UpdateKeyRequestSchema,
} from "#gen/claviger/v1/key_management_pb.js";
import { BatchVerifyRequestSchema, VerifyRequestSchema } from "#gen/claviger/v1/key_verifier_pb.js";
import { BadRequestSchema } from "#gen/google/rpc/error_details_pb.js";
import { refusalOfJson } from "./refusal-of-json.ts";

const SECRET = `clv_live_${"a1B2".repeat(12)}x`;

function violationsIn(schema: DescMessage, json: unknown) {
  const [bad] = refusalOfJson(schema, JSON.stringify(json))?.findDetails(BadRequestSchema) ?? [];
  return bad?.fieldViolations ?? [];
}

it.each<[string, DescMessage, unknown, Readonly<Record<string, RegExp>>]>([
  ["an unknown field", VerifyRequestSchema, { secret: "x", scopes: ["a"] }, { scopes: /has no such field/ }],
  ["a duration in days", CreateKeyRequestSchema, { ttl: "5d" }, { ttl: /such as "3600s"/ }],
  ["one of two durations", RotateKeyRequestSchema, { ttl: "5s", gracePeriod: "1h" }, { grace_period: /"3600s"/ }],
  ["a nested unknown field", UpdateKeyRequestSchema, { key: { allowedCidr: [] } }, { "key.allowedCidr": /no such/ }],
  ["one in a list", BatchVerifyRequestSchema, { requests: [{}, { scope: 1 }] }, { "requests[1].scope": /no such/ }],
  ["an unknown name of an enum", CreateKeyRequestSchema, { environment: "prod" }, { environment: /ENVIRONMENT_LIVE/ }],
  ["a number for text", CreateKeyRequestSchema, { owner: 1 }, { owner: /must be/ }],
  ["a list for an object", CreateKeyRequestSchema, { limits: [] }, { limits: /object/ }],
  ["a label that is no text", CreateKeyRequestSchema, { labels: { a: 1 } }, { labels: /text/ }],
  ["no object at all", CreateKeyRequestSchema, [], { "(request)": /object/ }],
  ["two of them", CreateKeyRequestSchema, { a: 1, ttl: 5 }, { a: /no such/, ttl: /3600s/ }],
])("names %s and says what is right", (_, schema, json, expected) => {
  const violations = violationsIn(schema, json);
  expect(violations.map(({ field }) => field)).toEqual(Object.keys(expected));
  for (const { field, description } of violations) expect(description).toMatch(expected[field] ?? /^$/);
});

it("never quotes a value, nor a name that looks like a secret", () => {
  const values = fc.constantFrom<unknown>(SECRET, [SECRET], { a: SECRET }, { [SECRET]: 1 }, `${SECRET}s`);
  const names = fc.oneof(
    fc.constantFrom("secret", "scopes", "ttl", "limits", "key", "labels", "metadata", SECRET, `x${SECRET}`),
    fc.string({ maxLength: 50 }).map((noise) => noise + SECRET),
  );
  fc.assert(
    fc.property(fc.dictionary(names, values), (json) => {
      for (const schema of [CreateKeyRequestSchema, UpdateKeyRequestSchema, VerifyRequestSchema]) {
        const shown = JSON.stringify([
          violationsIn(schema, json),
          refusalOfJson(schema, JSON.stringify(json))?.message,
        ]);
        expect(shown).not.toContain(SECRET.slice(9));
        expect(shown).not.toContain(SECRET.slice(9, 29));
      }
    }),
  );
});
