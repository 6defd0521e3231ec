import type { Timestamp } from "@bufbuild/protobuf/wkt";
import {
  type Actor,
  ActorKindSchema,
  EnvironmentSchema,
  type Key,
  KeyStateSchema,
  type Limits,
  RevocationReason,
  RevocationReasonSchema,
  SecretStateSchema,
  type SecretVersion,
} from "#gen/claviger/v1/key_pb.js";
import { describeTime } from "./describe-time.ts";
import { enumName } from "./enum-names.ts";
import { formatTable } from "./table.ts";

/** A key for people: a line per fact that is set, then its secrets. */
export function describeKey(key: Key, now: Date): string {
  const time = (timestamp: Timestamp | undefined) => describeTime(timestamp, now);
  const facts = [
    ["key id", key.id],
    ["name", key.displayName],
    ["owner", key.owner],
    ["environment", enumName(EnvironmentSchema, key.environment)],
    ["state", enumName(KeyStateSchema, key.state)],
    ["scopes", key.scopes.join(" ")],
    ["labels", describeLabels(key.labels)],
    ["metadata", key.metadata === undefined ? "" : JSON.stringify(key.metadata)],
    ["allowed from", key.allowedCidrs.join(" ")],
    ["limits", key.limits && describeLimits(key.limits)],
    ["held", key.heldFields.join(" ")],
    ["last used", key.lastUsedTime && time(key.lastUsedTime)],
    ["created", key.createTime && `${time(key.createTime)}${describeActor(key.createdBy)}`],
    ["expires", key.expireTime && time(key.expireTime)],
    ["revoked", key.revokeTime && `${time(key.revokeTime)}${describeActor(key.revokedBy)}`],
    [
      "reason",
      key.revokeReason === RevocationReason.UNSPECIFIED ? "" : enumName(RevocationReasonSchema, key.revokeReason),
    ],
    ["note", key.revokeNote],
    ["etag", key.etag],
  ].filter((fact): fact is [string, string] => fact[1] !== undefined && fact[1] !== "" && fact[1] !== "{}");
  return `${formatTable(facts)}\n\n${describeSecrets(key.secrets, now)}`;
}

/** `{ team: "billing", tier: "1" }` is `team=billing tier=1`. */
export function describeLabels(labels: Readonly<Record<string, string>>): string {
  return Object.entries(labels)
    .map(([key, value]) => `${key}=${value}`)
    .join(" ");
}

function describeLimits({ requestsPerSecond, burst, requestsPerDay }: Limits): string {
  const rate =
    requestsPerSecond === 0 ? [] : [`${requestsPerSecond} a second`, `${burst || requestsPerSecond} at once`];
  return [...rate, ...(requestsPerDay === 0 ? [] : [`${requestsPerDay} a day`])].join(", ");
}

function describeActor(actor: Actor | undefined): string {
  if (actor === undefined) return "";
  const who = [enumName(ActorKindSchema, actor.kind), actor.subject, actor.keyId && `with ${actor.keyId}`];
  return ` by ${who.filter(Boolean).join(" ")}`;
}

function describeSecrets(secrets: readonly SecretVersion[], now: Date): string {
  const rows = secrets.map(({ version, hint, state, createTime, retireTime, expireTime }) => [
    String(version),
    hint,
    enumName(SecretStateSchema, state),
    describeTime(createTime, now),
    describeTime(retireTime ?? expireTime, now),
  ]);
  return formatTable([["VERSION", "SECRET", "STATE", "CREATED", "ENDS"], ...rows]);
}
