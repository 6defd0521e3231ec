import type { UpdateKeyRequest } from "#gen/claviger/v1/key_management_pb.js";
import type { Key } from "#gen/claviger/v1/key_pb.js";
import { invalidField } from "../../keys/errors.ts";
import type { KeyUpdate, UpdateKey } from "../../manage/update-key.ts";
import { cidrsFromProto, displayNameFromProto, limitsFromProto, metadataFromProto } from "./from-proto.ts";

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
