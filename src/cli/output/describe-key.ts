import { type Timestamp, timestampDate } from "@bufbuild/protobuf/wkt";
import {
  type Actor,
  ActorKindSchema,
  EnvironmentSchema,
  type Key,
  KeyStateSchema,
  type Limits,
  RevocationReason,
  RevocationReasonSchema,
  type RevocationReceipt,
  SecretState,
  SecretStateSchema,
  type SecretVersion,
} from "#gen/claviger/v1/key_pb.js";
import { enumName } from "../input/enum-names.ts";
import type { Shell } from "../shell.ts";
import { createTimes, type Times } from "./describe-time.ts";
import { formatFacts, formatList } from "./table.ts";

/** A key for people: a line per fact that is set, then its secrets. */
export function describeKey(key: Key, shell: Shell): string {
  const times = createTimes(shell);
  const time = (timestamp: Timestamp) => times.describe(timestamp);
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
    ["expires", key.revokeTime === undefined && key.expireTime && time(key.expireTime)],
    ["revoked", key.revokeTime && `${time(key.revokeTime)}${describeActor(key.revokedBy)}`],
    [
      "reason",
      key.revokeReason === RevocationReason.UNSPECIFIED ? "" : enumName(RevocationReasonSchema, key.revokeReason),
    ],
    ["note", key.revokeNote],
    ["etag", key.etag],
  ].filter((fact): fact is [string, string] => Boolean(fact[1]) && fact[1] !== "{}");
  return `${formatFacts(facts, shell.columns)}\n\n${describeSecrets(key, times, shell.columns)}`;
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

function describeSecrets({ secrets, revokeTime }: Key, times: Times, width: number | undefined): string {
  const end = ({ state, retireTime, expireTime }: SecretVersion) =>
    state === SecretState.REVOKED ? revokeTime : (retireTime ?? expireTime);
  return formatList(
    secrets,
    [
      { title: "VERSION", cell: ({ version }) => String(version) },
      { title: "SECRET", cell: ({ hint }) => hint },
      { title: "STATE", cell: ({ state }) => enumName(SecretStateSchema, state) },
      {
        title: "CREATED",
        cell: ({ createTime }) => times.describe(createTime),
        short: ({ createTime }) => times.abbreviate(createTime),
      },
      {
        title: "ENDS",
        cell: (secret) => times.describe(end(secret)),
        short: (secret) => times.abbreviate(end(secret)),
      },
    ],
    width,
  );
}

/** When a change was effective everywhere, for people, in two lines; empty for a change that did not wait. */
export function describeReceipt(receipt: RevocationReceipt | undefined): string {
  if (receipt === undefined) return "";
  const { revision, effectiveTime, confirmedVerifierCount, expiredVerifierCount } = receipt;
  const when = effectiveTime === undefined ? "" : ` since ${timestampDate(effectiveTime).toISOString()}`;
  const noun = confirmedVerifierCount === 1 ? "verifier" : "verifiers";
  const who = `${confirmedVerifierCount} ${noun} confirmed, ${expiredVerifierCount} waited out`;
  return `effective everywhere${when}\nrevision ${revision}: ${who}`;
}
