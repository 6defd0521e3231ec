import { create, toBinary } from "@bufbuild/protobuf";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import {
  type KeyManagement,
  type ListKeysRequest,
  ListKeysResponseSchema,
} from "#gen/claviger/v1/key_management_pb.js";
import { KeySchema } from "#gen/claviger/v1/key_pb.js";
import type { Caller } from "../access/caller.ts";
import { createKey } from "../manage/create-key.ts";
import type { ManageDeps } from "../manage/deps.ts";
import { getKey } from "../manage/get-key.ts";
import { type KeyFilter, type KeyPage, listKeys } from "../manage/list-keys.ts";
import { reportLeakedSecret } from "../manage/report-leaked-secret.ts";
import { retireSecret } from "../manage/retire-secret.ts";
import { revokeKey } from "../manage/revoke-key.ts";
import { revokeKeys } from "../manage/revoke-keys.ts";
import { rotateKey } from "../manage/rotate-key.ts";
import { updateKey } from "../manage/update-key.ts";
import { callerKey } from "./call.ts";
import {
  instantFromProto,
  metadataFromProto,
  methodUnbuilt,
  nameOf,
  refuseUnbuilt,
  spanFromProto,
} from "./from-proto.ts";
import { ENVIRONMENTS, KEY_STATES, keyToProto, REVOCATION_REASONS, receiptToProto, secretToProto } from "./to-proto.ts";
import { updateFromProto } from "./update-from-proto.ts";

/** A page ends here even if it is short: clients refuse messages above 4 MiB. */
const PAGE_BYTES = 1024 * 1024;

/** `claviger.v1.KeyManagement`: requests to commands, results to responses. */
export function createKeyManagement(deps: ManageDeps): ServiceImpl<typeof KeyManagement> {
  return {
    async createKey(request, context) {
      refuseUnbuilt("limits", request.limits !== undefined);
      refuseUnbuilt("request_id", request.requestId !== "");
      const { view, secret } = await createKey(deps, callerOf(context), {
        owner: request.owner,
        displayName: request.displayName,
        environment: nameOf(ENVIRONMENTS, request.environment) ?? "live",
        scopes: request.scopes,
        labels: request.labels,
        metadata: metadataFromProto("metadata", request.metadata),
        allowedCidrs: request.allowedCidrs,
        ttlMs: spanFromProto("ttl", request.ttl),
      });
      return { key: keyToProto(view), secret: secret.reveal() };
    },

    async getKey(request) {
      return { key: keyToProto(await getKey(deps, request.keyId)) };
    },

    async listKeys(request) {
      refuseUnbuilt("unused_since", request.unusedSince !== undefined);
      const { pageSize, pageToken } = request;
      return pageToProto(await listKeys(deps, { filter: listFilter(request), pageSize, pageToken }));
    },

    async updateKey(request, context) {
      const { view, receipt } = await updateKey(deps, callerOf(context), updateFromProto(request));
      return { key: keyToProto(view), ...(receipt === undefined ? {} : { receipt: receiptToProto(receipt) }) };
    },

    async rotateKey(request, context) {
      refuseUnbuilt("request_id", request.requestId !== "");
      const { keyId, etag } = request;
      const graceMs = spanFromProto("grace_period", request.gracePeriod);
      const ttlMs = spanFromProto("ttl", request.ttl);
      const rotation = await rotateKey(deps, callerOf(context), { keyId, etag, graceMs, ttlMs });
      const { view, secret, retiring, receipt } = rotation;
      return {
        key: keyToProto(view),
        secret: secret.reveal(),
        ...(retiring === undefined ? {} : { retiring: secretToProto(view.key, retiring, view.now) }),
        ...(receipt === undefined ? {} : { receipt: receiptToProto(receipt) }),
      };
    },

    async retireSecret({ keyId, version }, context) {
      const { view, receipt } = await retireSecret(deps, callerOf(context), { keyId, version });
      return { key: keyToProto(view), receipt: receiptToProto(receipt) };
    },

    async revokeKey({ keyId, reason, note }, context) {
      const command = { keyId, reason: nameOf(REVOCATION_REASONS, reason) ?? null, note };
      const { view, receipt } = await revokeKey(deps, callerOf(context), command);
      return { key: keyToProto(view), receipt: receiptToProto(receipt) };
    },

    async revokeKeys({ owner, labelSelector, reason, note, validateOnly }, context) {
      const { keyCount, receipt } = await revokeKeys(deps, callerOf(context), {
        filter: selection(owner, labelSelector),
        reason: nameOf(REVOCATION_REASONS, reason) ?? null,
        note,
        validateOnly,
      });
      return { keyCount, ...(receipt === undefined ? {} : { receipt: receiptToProto(receipt) }) };
    },

    async reportLeakedSecret({ secret, source }, context) {
      const caller = callerOf(context);
      if (caller.kind !== "anonymous") throw new Error("a leaked secret is reported without a credential");
      await reportLeakedSecret(deps, caller, { secret, source });
      return {};
    },

    queryUsage() {
      throw methodUnbuilt("QueryUsage");
    },

    listAuditEvents() {
      throw methodUnbuilt("ListAuditEvents");
    },
  };
}

function callerOf(context: HandlerContext): Caller {
  return context.values.get(callerKey);
}

function selection(owner: string, labels: Readonly<Record<string, string>>): Pick<KeyFilter, "owner" | "labels"> {
  return { ...(owner === "" ? {} : { owner }), ...(Object.keys(labels).length === 0 ? {} : { labels }) };
}

function listFilter(request: ListKeysRequest): KeyFilter {
  const state = nameOf(KEY_STATES, request.state);
  const expiresBefore = instantFromProto("expires_before", request.expiresBefore);
  return {
    ...selection(request.owner, request.labelSelector),
    ...(state === undefined ? {} : { state }),
    ...(expiresBefore === undefined ? {} : { expiresBefore }),
  };
}

function pageToProto({ views, more, tokenAfter }: KeyPage) {
  const response = create(ListKeysResponseSchema);
  let bytes = 0;
  for (const [index, view] of views.entries()) {
    const key = keyToProto(view);
    bytes += toBinary(KeySchema, key).length;
    const previous = views[index - 1];
    if (bytes > PAGE_BYTES && previous !== undefined) {
      response.nextPageToken = tokenAfter(previous);
      return response;
    }
    response.keys.push(key);
  }
  const last = views.at(-1);
  if (more && last !== undefined) response.nextPageToken = tokenAfter(last);
  return response;
}
