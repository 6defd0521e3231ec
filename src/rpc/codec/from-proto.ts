import type { JsonObject as ProtoJsonObject } from "@bufbuild/protobuf";
import { type Duration, type Timestamp, timestampDate } from "@bufbuild/protobuf/wkt";
import type { UpdateKeyRequest } from "#gen/claviger/v1/key_management_pb.js";
import type { Key, Limits as LimitsMessage } from "#gen/claviger/v1/key_pb.js";
import { isCidr } from "../../keys/cidrs.ts";
import { invalidField, invalidFields } from "../../keys/errors.ts";
import type { JsonObject } from "../../keys/key.ts";
import { type Limits, limitsOrNone } from "../../keys/limits.ts";
import { metadataProblem } from "../../keys/metadata.ts";
import { displayNameProblem } from "../../keys/owner.ts";
import type { KeyUpdate, UpdateKey } from "../../manage/update-key.ts";
import { LAST_TIME_MS } from "../../system/clocks.ts";

const METADATA_BYTES = 4096;

/** The name whose value is `value` in a table like `KEY_STATES`; undefined for unspecified. */
export function nameOf<Name extends string>(table: Readonly<Record<Name, number>>, value: number): Name | undefined {
  return (Object.keys(table) as Name[]).find((name) => table[name] === value);
}

/** Whole milliseconds, rounded up so that more than a limit stays more; undefined if the field is not set. */
export function spanFromProto(span: Duration | undefined): number | undefined {
  if (span === undefined) return undefined;
  // Not `durationMs`, whose sum of both rounds: 90 days and a nanosecond would be 90 days.
  return Number(span.seconds) * 1000 + Math.ceil(span.nanos / 1_000_000);
}

/** The instant, in whole milliseconds; undefined if the field is not set. Rounding does not leave the year 9999. */
export function instantFromProto(instant: Timestamp | undefined): Date | undefined {
  return instant && new Date(Math.min(timestampDate(instant).getTime(), LAST_TIME_MS));
}

/** The display name of a key. Throws `INVALID_FIELD` for a name that looks the same as another one. */
export function displayNameFromProto(field: string, name: string): string {
  const problem = displayNameProblem(name);
  if (problem !== undefined) throw invalidField(field, problem);
  return name;
}

/** Prefixes that verification can read; `INVALID_FIELD` names each other one: protovalidate's `ip_prefix` takes more. */
export function cidrsFromProto(field: string, cidrs: readonly string[]): readonly string[] {
  const violations = cidrs.flatMap((cidr, at) =>
    isCidr(cidr)
      ? []
      : [
          {
            field: `${field}[${at}]`,
            description: "must be an IPv4 or IPv6 prefix, such as 10.0.0.0/8 or 2001:db8::/32",
          },
        ],
  );
  if (violations.length > 0) throw invalidFields(violations);
  return cidrs;
}

/** Metadata as it is stored; null if the field is not set. */
export function metadataFromProto(field: string, metadata: ProtoJsonObject | undefined): JsonObject | null {
  if (metadata === undefined) return null;
  const problem = metadataProblem(metadata);
  if (problem !== undefined) throw invalidField(field, problem);
  if (Buffer.byteLength(JSON.stringify(metadata)) > METADATA_BYTES)
    throw invalidField(field, `must be at most ${METADATA_BYTES} bytes of JSON`);
  return metadata;
}

/** Null for a field that is not set, and for limits that limit nothing. */
export function limitsFromProto(limits: LimitsMessage | undefined): Limits | null {
  if (limits === undefined) return null;
  const { requestsPerSecond, burst, requestsPerDay } = limits;
  if (burst > 0 && requestsPerSecond === 0) throw invalidField("limits.burst", "takes requests_per_second as well");
  return limitsOrNone({ requestsPerSecond, burst, requestsPerDay });
}

/** The update that each path of the mask takes from the key. */
const READERS: Readonly<Record<string, (key: Key) => KeyUpdate>> = {
  display_name: (key) => {
    if (key.displayName === "") throw invalidField("key.display_name", "must have 1 to 63 characters");
    return { displayName: displayNameFromProto("key.display_name", key.displayName) };
  },
  scopes: (key) => ({ scopes: key.scopes }),
  labels: (key) => ({ labels: key.labels }),
  metadata: (key) => ({ metadata: metadataFromProto("key.metadata", key.metadata) }),
  allowed_cidrs: (key) => ({ allowedCidrs: cidrsFromProto("key.allowed_cidrs", key.allowedCidrs) }),
  disabled: (key) => ({ disabled: key.disabled }),
  limits: (key) => ({ limits: limitsFromProto(key.limits) }),
};

/** The change that the mask names; `INVALID_FIELD` for a path that is unknown, output-only or a wildcard. */
export function updateFromProto(request: UpdateKeyRequest): UpdateKey {
  const { key, updateMask } = request;
  const paths = updateMask?.paths ?? [];
  if (key === undefined || paths.length === 0) throw invalidField("update_mask", `name one or more of ${known()}`);
  const changes = paths.map((path) => {
    const reader = Object.hasOwn(READERS, path) ? READERS[path] : undefined;
    if (reader === undefined) throw invalidField("update_mask", `cannot change ${path}; it takes ${known()}`);
    return reader(key);
  });
  const update: KeyUpdate = Object.assign({}, ...changes);
  return { keyId: key.id, etag: key.etag, update };
}

function known(): string {
  return Object.keys(READERS).join(", ");
}
