import { create, type DescMessage, fromBinary, type Message, toBinary } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import { ListAuditEventsRequestSchema } from "#gen/claviger/v1/audit_pb.js";
import {
  CreateKeyRequestSchema,
  ListKeysRequestSchema,
  RevokeKeysRequestSchema,
  RotateKeyRequestSchema,
  UpdateKeyRequestSchema,
} from "#gen/claviger/v1/key_management_pb.js";
import { BatchVerifyRequestSchema, SyncRequestSchema, VerifyRequestSchema } from "#gen/claviger/v1/key_verifier_pb.js";
import { QueryUsageRequestSchema } from "#gen/claviger/v1/usage_pb.js";
import { unsoundFields } from "./unsound-fields.ts";

const SECRET = `clv_live_${"a1B2".repeat(12)}x`;
/** Field 1999, of type varint, holding 1. */
const UNKNOWN = Buffer.from("f87c01", "hex");

const fieldsOf = (schema: DescMessage, message: Message) => unsoundFields(schema, message).map(({ field }) => field);

describe("a field that this server does not know", () => {
  it("is named by its number, in any message of a request", () => {
    const inner = fromBinary(VerifyRequestSchema, UNKNOWN);
    const batch = create(BatchVerifyRequestSchema, { requests: [{}, inner] });
    const sent = fromBinary(BatchVerifyRequestSchema, toBinary(BatchVerifyRequestSchema, batch));
    expect(fieldsOf(BatchVerifyRequestSchema, sent)).toEqual(["requests[1].1999"]);
    const ask = create(SyncRequestSchema, { message: { case: "ask", value: { request: inner } } });
    expect(fieldsOf(SyncRequestSchema, ask)).toEqual(["ask.request.1999"]);
    for (const schema of [CreateKeyRequestSchema, UpdateKeyRequestSchema, VerifyRequestSchema, SyncRequestSchema]) {
      expect(fieldsOf(schema, fromBinary(schema, UNKNOWN))).toEqual(["1999"]);
    }
  });
});

describe("a duration or a time", () => {
  it.each([
    [1n, -1],
    [-1n, 1],
    [1n, 1_000_000_000],
    [315_576_000_001n, 0],
    [2n ** 62n, 0],
  ])("of %s seconds and %s nanoseconds is none", (seconds, nanos) => {
    const rotate = create(RotateKeyRequestSchema, { ttl: { seconds, nanos }, gracePeriod: { seconds, nanos } });
    expect(fieldsOf(RotateKeyRequestSchema, rotate)).toEqual(["grace_period", "ttl"]);
  });

  it.each([
    [0n, -1],
    [0n, 1_000_000_000],
    [253_402_300_800n, 0],
    [-62_135_596_801n, 0],
    [2n ** 62n, 0],
  ])("of %s seconds and %s nanoseconds since 1970 is none", (seconds, nanos) => {
    const usage = create(QueryUsageRequestSchema, { startTime: { seconds, nanos }, endTime: { seconds: 1n } });
    expect(fieldsOf(QueryUsageRequestSchema, usage)).toEqual(["start_time"]);
  });
});

describe("a secret", () => {
  it("is found in every field that is kept, listed or logged", () => {
    const key = { owner: SECRET, displayName: SECRET, labels: { a: SECRET }, scopes: [SECRET] };
    const create_ = create(CreateKeyRequestSchema, { ...key, labels: { a: SECRET, [SECRET]: "" } });
    expect(fieldsOf(CreateKeyRequestSchema, create_).toSorted()).toEqual(
      ["display_name", 'labels["a"]', `labels["${SECRET}"]`, "owner", "scopes[0]"].toSorted(),
    );
    const update = create(UpdateKeyRequestSchema, { key });
    expect(fieldsOf(UpdateKeyRequestSchema, update)).toContain("key.display_name");
    const list = create(ListKeysRequestSchema, { owner: SECRET, labelSelector: { a: SECRET } });
    expect(fieldsOf(ListKeysRequestSchema, list)).toEqual(["owner", 'label_selector["a"]']);
    const audit = create(ListAuditEventsRequestSchema, { owner: SECRET, actor: SECRET });
    expect(fieldsOf(ListAuditEventsRequestSchema, audit)).toEqual(["owner", "actor"]);
    const revoke = create(RevokeKeysRequestSchema, { owner: SECRET, note: SECRET });
    expect(fieldsOf(RevokeKeysRequestSchema, revoke)).toEqual(["owner"]);
  });

  it("belongs into the field for it", () => {
    const verify = create(VerifyRequestSchema, { secret: SECRET, method: `/a/${SECRET}` });
    expect(fieldsOf(VerifyRequestSchema, verify)).toEqual([]);
  });
});
