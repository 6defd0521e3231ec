import { isMessage } from "@bufbuild/protobuf";
import type { Interceptor } from "@connectrpc/connect";
import {
  CreateKeyRequestSchema,
  RotateKeyRequestSchema,
  UpdateKeyRequestSchema,
} from "#gen/claviger/v1/key_management_pb.js";
import type { Caller } from "../access/caller.ts";
import type { FeatureFlag } from "../access/feature-flag.ts";
import { confinedTo } from "../access/permissions.ts";
import { isKeyId } from "../keys/key.ts";
import type { InTurn } from "../manage/bulkhead.ts";
import { findOwner } from "../manage/read-keys.ts";
import { callOf } from "./call.ts";

/**
 * Refuses to create, change and rotate keys where `enable-api-key-management` is off for the owner acted upon. Calls that
 * read, verify or end a key are never gated. Why: docs/decisions/0016-openfeature-flag.md.
 */
export function createFeatureInterceptor(inTurn: InTurn, feature: FeatureFlag): Interceptor {
  return (next) => async (request) => {
    if (request.stream) return next(request);
    const { caller } = callOf(request.contextValues);
    const owner = await ownerActedUpon(inTurn, caller, request.message);
    if (owner !== undefined) await feature.requireFeature(owner, { kind: caller.kind, owner: ownerOf(caller) });
    return next(request);
  };
}

/**
 * The owner of the key or the owner in the request. Undefined for methods that are not gated, and for an unknown key: a
 * later step reports that key, not the flag. The rules of the request have not been checked yet, so a malformed key id
 * must not reach storage.
 */
async function ownerActedUpon(inTurn: InTurn, caller: Caller, message: object): Promise<string | undefined> {
  if (isMessage(message, CreateKeyRequestSchema)) return confinedTo(caller) ?? (message.owner || ownerOf(caller));
  const keyId = isMessage(message, RotateKeyRequestSchema)
    ? message.keyId
    : isMessage(message, UpdateKeyRequestSchema)
      ? (message.key?.id ?? "")
      : undefined;
  if (keyId === undefined || !isKeyId(keyId)) return undefined;
  return confinedTo(caller) ?? (await findOwner(inTurn({ caller, about: "", lane: "ordinary" }), keyId));
}

function ownerOf(caller: Caller): string {
  return "owner" in caller ? caller.owner : "";
}
