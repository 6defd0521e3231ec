import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import type { Logger } from "pino";
import { AuditEventSchema, type ListAuditEventsRequest } from "#gen/claviger/v1/audit_pb.js";
import type { KeyManagement, ListKeysRequest } from "#gen/claviger/v1/key_management_pb.js";
import { KeySchema } from "#gen/claviger/v1/key_pb.js";
import { type Caller, callerId } from "../access/caller.ts";
import type { KeyView } from "../keys/key.ts";
import type { InTurn, Lane } from "../manage/bulkhead.ts";
import type { CallerRates } from "../manage/caller-rates.ts";
import { createKey } from "../manage/create-key.ts";
import { type EventFilter, listAuditEvents, type SealedEvent } from "../manage/list-audit-events.ts";
import { listNodes } from "../manage/list-nodes.ts";
import { queryUsage } from "../manage/query-usage.ts";
import { getKey, type KeyFilter, listKeys } from "../manage/read-keys.ts";
import { reportLeakedSecret } from "../manage/report-leaked-secret.ts";
import { retireSecret } from "../manage/retire-secret.ts";
import { revokeKey } from "../manage/revoke-key.ts";
import { revokeKeys } from "../manage/revoke-keys.ts";
import { rotateKey } from "../manage/rotate-key.ts";
import { updateKey } from "../manage/update-key.ts";
import { callOf } from "./call.ts";
import {
  cidrsFromProto,
  displayNameFromProto,
  instantFromProto,
  limitsFromProto,
  metadataFromProto,
  nameOf,
  spanFromProto,
  updateFromProto,
} from "./codec/from-proto.ts";
import { type Answering, nodesToProto } from "./codec/nodes-to-proto.ts";
import { createLeftOutWarning } from "./codec/shown-key.ts";
import {
  auditEventToProto,
  ENVIRONMENTS,
  KEY_STATES,
  pageToProto,
  REVOCATION_REASONS,
  receiptToProto,
  secretToProto,
  keyToProto as viewToProto,
} from "./codec/to-proto.ts";
import { usageFromProto, usageToProto } from "./codec/usage-to-proto.ts";

export interface KeyManagementOptions {
  readonly inTurn: InTurn;
  readonly rates: CallerRates;
  readonly log: Logger;
  /** This process, and the agents that are attached to it now. */
  readonly self: () => Answering;
}

/** `claviger.v1.KeyManagement`: requests to commands, results to responses. */
export function createKeyManagement({
  inTurn,
  rates,
  log,
  self,
}: KeyManagementOptions): ServiceImpl<typeof KeyManagement> {
  const takeTurn = (lane: Lane) => (context: HandlerContext, about: string) => {
    const caller = callerOf(context);
    return [inTurn({ caller, about, lane }), caller] as const;
  };
  /** Ends keys. */
  const urgently = takeTurn("urgent");
  const reporting = takeTurn("report");
  const ordinarily = takeTurn("ordinary");
  /** Costs CPU beside a connection: with 3 pages of a caller at once, a revocation took 11 times as long (`npm run bench fairness`). */
  const inPages = (context: HandlerContext) => ordinarily(context, `pages:${callerId(callerOf(context))}`);
  /** Leaves rows behind. */
  const rated: typeof ordinarily = (context, about) => {
    rates.charge(callerOf(context));
    return ordinarily(context, about);
  };
  const onMetadataLeftOut = createLeftOutWarning((about, message) => log.warn(about, message));
  const keyToProto = (view: KeyView) => viewToProto(view, onMetadataLeftOut);
  const onKeyLeftOut = ({ key: { id: keyId } }: KeyView, error: unknown) =>
    log.error({ event: "row.left_out", keyId, err: error }, "a key cannot be shown, and a list goes on without it");
  const onEventLeftOut = ({ sequence }: SealedEvent, error: unknown) =>
    log.error(
      { event: "row.left_out", sequence, err: error },
      "an audit event cannot be shown, and a list goes on without it",
    );
  return {
    async createKey(request, context) {
      const { view, secret } = await createKey(...rated(context, `owner:${ownerOf(request, context)}`), {
        owner: request.owner,
        displayName: displayNameFromProto("display_name", request.displayName),
        environment: nameOf(ENVIRONMENTS, request.environment) ?? "live",
        scopes: request.scopes,
        labels: request.labels,
        metadata: metadataFromProto("metadata", request.metadata),
        allowedCidrs: cidrsFromProto("allowed_cidrs", request.allowedCidrs),
        limits: limitsFromProto(request.limits),
        ttlMs: spanFromProto(request.ttl),
        requestId: request.requestId.toLowerCase(),
      });
      return { key: keyToProto(view), secret: secret.reveal() };
    },

    async getKey(request, context) {
      return { key: keyToProto(await getKey(...ordinarily(context, ""), request.keyId)) };
    },

    async listKeys(request, context) {
      const { pageSize, pageToken } = request;
      const command = { filter: listFilter(request), pageSize, pageToken };
      const page = await listKeys(...inPages(context), command);
      const rows = { ...page, rows: page.views, onLeftOut: onKeyLeftOut };
      const { messages, nextPageToken } = pageToProto(rows, KeySchema, keyToProto);
      return { keys: messages, nextPageToken };
    },

    async updateKey(request, context) {
      const command = updateFromProto(request);
      const { view, receipt } = await updateKey(...rated(context, `key:${command.keyId}`), command);
      return { key: keyToProto(view), ...(receipt === undefined ? {} : { receipt: receiptToProto(receipt) }) };
    },

    async rotateKey(request, context) {
      const { keyId, etag } = request;
      const requestId = request.requestId.toLowerCase();
      const graceMs = spanFromProto(request.gracePeriod);
      const ttlMs = spanFromProto(request.ttl);
      const rotation = await rotateKey(...rated(context, `key:${keyId}`), { keyId, etag, graceMs, ttlMs, requestId });
      const { view, secret, retiring, receipt } = rotation;
      return {
        key: keyToProto(view),
        secret: secret.reveal(),
        ...(retiring === undefined ? {} : { retiring: secretToProto(view.key, retiring, view.now) }),
        ...(receipt === undefined ? {} : { receipt: receiptToProto(receipt) }),
      };
    },

    async retireSecret({ keyId, version }, context) {
      const { view, receipt } = await retireSecret(...urgently(context, `key:${keyId}`), { keyId, version });
      return { key: keyToProto(view), receipt: receiptToProto(receipt) };
    },

    async revokeKey({ keyId, secret, reason, note }, context) {
      const revocation = { reason: nameOf(REVOCATION_REASONS, reason) ?? null, note };
      const command = keyId === "" ? { ...revocation, secret } : { ...revocation, keyId };
      const about = keyId === "" ? "" : `key:${keyId}`;
      const { view, receipt } = await revokeKey(...urgently(context, about), command);
      return { key: keyToProto(view), receipt: receiptToProto(receipt) };
    },

    async revokeKeys({ owner, labelSelector, reason, note, validateOnly }, context) {
      const { keyCount, receipt } = await revokeKeys(...urgently(context, owner === "" ? "" : `owner:${owner}`), {
        filter: selection(owner, labelSelector),
        reason: nameOf(REVOCATION_REASONS, reason) ?? null,
        note,
        validateOnly,
      });
      return { keyCount, ...(receipt === undefined ? {} : { receipt: receiptToProto(receipt) }) };
    },

    async reportLeakedSecret({ secret, source }, context) {
      const [deps, caller] = reporting(context, "");
      if (caller.kind !== "anonymous") throw new Error("a leaked secret is reported without a credential");
      await reportLeakedSecret(deps, caller, { secret, source });
      return {};
    },

    async queryUsage(request, context) {
      return usageToProto(await queryUsage(...inPages(context), usageFromProto(request)));
    },

    async listAuditEvents(request, context) {
      const { pageSize, pageToken } = request;
      const command = { filter: eventFilter(request), pageSize, pageToken };
      const page = await listAuditEvents(...inPages(context), command);
      const rows = { ...page, rows: page.events, onLeftOut: onEventLeftOut };
      const { messages, nextPageToken } = pageToProto(rows, AuditEventSchema, auditEventToProto);
      return { events: messages, nextPageToken };
    },

    async listNodes(_, context) {
      const [deps] = ordinarily(context, "");
      return nodesToProto(await listNodes(deps), self());
    },
  };
}

function callerOf(context: HandlerContext): Caller {
  return callOf(context.values).caller;
}

/** Whose row a creation locks. */
function ownerOf({ owner }: { readonly owner: string }, context: HandlerContext): string {
  const caller = callerOf(context);
  return owner === "" && "owner" in caller ? caller.owner : owner;
}

function selection(owner: string, labels: Readonly<Record<string, string>>): Pick<KeyFilter, "owner" | "labels"> {
  return { ...(owner === "" ? {} : { owner }), ...(Object.keys(labels).length === 0 ? {} : { labels }) };
}

function listFilter(request: ListKeysRequest): KeyFilter {
  const state = nameOf(KEY_STATES, request.state);
  const expiresBefore = instantFromProto(request.expiresBefore);
  const unusedSince = instantFromProto(request.unusedSince);
  return {
    ...selection(request.owner, request.labelSelector),
    ...(state === undefined ? {} : { state }),
    ...(expiresBefore === undefined ? {} : { expiresBefore }),
    ...(unusedSince === undefined ? {} : { unusedSince }),
  };
}

function eventFilter({ keyId, owner, actor, startTime, endTime }: ListAuditEventsRequest): EventFilter {
  const from = instantFromProto(startTime);
  const to = instantFromProto(endTime);
  return {
    ...(keyId === "" ? {} : { keyId }),
    ...(owner === "" ? {} : { owner }),
    ...(actor === "" ? {} : { actor }),
    ...(from === undefined ? {} : { startTime: from }),
    ...(to === undefined ? {} : { endTime: to }),
  };
}
