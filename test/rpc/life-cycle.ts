import { type Key, KeyState, SecretState } from "#gen/claviger/v1/key_pb.js";
import type { Clients } from "../../testkit/claviger.ts";
import { changeKey } from "./change-key.ts";

/** A key on its way, and who leads it. */
export interface Life {
  readonly by: Clients;
  /** Whose key it is to be. */
  readonly owner: string;
  /** Empty before the first step. */
  readonly keyId: string;
}

/** What a step leaves behind. */
export interface Outcome {
  readonly key?: Key | undefined;
  /** A secret that it minted. */
  readonly secret?: string;
}

export interface LifeStep {
  readonly name: string;
  readonly act: (life: Life) => Promise<Outcome>;
  /** The key's state afterwards, and those of its secrets, newest first. */
  readonly state: KeyState;
  readonly secrets: readonly SecretState[];
  /** Verdicts about its secrets, oldest first. */
  readonly verdicts: readonly string[];
  /** What the audit log gets; undefined for a step that only reads. */
  readonly action?: string;
}

const { ACTIVE, DISABLED, REVOKED } = KeyState;
const { CURRENT, RETIRING, RETIRED } = SecretState;

/** The life of a key: each step with what holds after it, whoever takes it. */
export const LIFE: readonly LifeStep[] = [
  {
    name: "create",
    act: ({ by, owner }) => by.keys.createKey({ owner, displayName: "robot", scopes: ["orders:read"] }),
    ...{ state: ACTIVE, secrets: [CURRENT], verdicts: ["VALID"], action: "key.created" },
  },
  {
    name: "get",
    act: ({ by, keyId }) => by.keys.getKey({ keyId }),
    ...{ state: ACTIVE, secrets: [CURRENT], verdicts: ["VALID"] },
  },
  {
    name: "list",
    act: async ({ by, owner, keyId }) => {
      const { keys } = await by.keys.listKeys({ owner });
      return { key: keys.find(({ id }) => id === keyId) };
    },
    ...{ state: ACTIVE, secrets: [CURRENT], verdicts: ["VALID"] },
  },
  {
    name: "update",
    act: ({ by, keyId }) => changeKey(by, keyId, { scopes: ["orders:read", "orders:write"] }),
    ...{ state: ACTIVE, secrets: [CURRENT], verdicts: ["VALID"], action: "key.updated" },
  },
  {
    name: "rotate",
    act: ({ by, keyId }) => by.keys.rotateKey({ keyId }),
    ...{ state: ACTIVE, secrets: [CURRENT, RETIRING], verdicts: ["VALID", "VALID"], action: "key.rotated" },
  },
  {
    name: "retire the old secret",
    act: ({ by, keyId }) => by.keys.retireSecret({ keyId, version: 1 }),
    ...{ state: ACTIVE, secrets: [CURRENT, RETIRED], verdicts: ["RETIRED", "VALID"], action: "secret.retired" },
  },
  {
    name: "disable",
    act: ({ by, keyId }) => changeKey(by, keyId, { disabled: true }),
    ...{ state: DISABLED, secrets: [CURRENT, RETIRED], verdicts: ["DISABLED", "DISABLED"], action: "key.updated" },
  },
  {
    name: "enable",
    act: ({ by, keyId }) => changeKey(by, keyId, { disabled: false }),
    ...{ state: ACTIVE, secrets: [CURRENT, RETIRED], verdicts: ["RETIRED", "VALID"], action: "key.updated" },
  },
  {
    name: "revoke",
    act: ({ by, keyId }) => by.keys.revokeKey({ keyId, note: "over" }),
    ...{
      state: REVOKED,
      secrets: [SecretState.REVOKED, SecretState.RETIRED],
      verdicts: ["REVOKED", "REVOKED"],
      action: "key.revoked",
    },
  },
  {
    name: "get what is left",
    act: ({ by, keyId }) => by.keys.getKey({ keyId }),
    ...{
      state: REVOKED,
      secrets: [SecretState.REVOKED, SecretState.RETIRED],
      verdicts: ["REVOKED", "REVOKED"],
    },
  },
];
