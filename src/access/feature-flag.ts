import type { Client } from "@openfeature/server-sdk";
import { ClavigerError, messageOf } from "../keys/errors.ts";
import { within } from "../system/timers.ts";

/** The flag that enables the creation and change of keys, owner by owner. */
export const KEY_MANAGEMENT_FLAG = "enable-api-key-management";

/** The caller as rules of a flag see it: its kind, and its owner (empty without one). */
export interface FlagCaller {
  readonly kind: string;
  readonly owner: string;
}

/** Whether a feature is on for an owner. */
export interface FeatureFlag {
  /** Never rejects, and answers in bounded time. `owner` is the owner of the key, who need not be the caller. */
  isOn(owner: string, caller: FlagCaller): Promise<boolean>;
  /** @throws ClavigerError `FEATURE_DISABLED` unless the flag is on. */
  requireFeature(owner: string, caller: FlagCaller): Promise<void>;
}

export interface FeatureFlagOptions {
  /** Called for each evaluation, so that a switch needs no restart. */
  readonly client: Pick<Client, "getBooleanDetails">;
  /** Called with the reason if the flag could not be evaluated. The message is complete. */
  readonly onError: (error: Error) => void;
  /** Called after each evaluation. Optional. */
  readonly onEvaluated?: () => void;
  /**
   * Milliseconds that the provider may take. Default 500: providers answer from memory, and a call can wait that long.
   */
  readonly timeoutMs?: number;
}

/**
 * The flag `enable-api-key-management`: the owner is the targeting key, `callerKind` and `callerOwner` are attributes.
 * Why a failing provider means off: docs/decisions/0016-openfeature-flag.md.
 */
export function createFeatureFlag(options: FeatureFlagOptions): FeatureFlag {
  const { onError, onEvaluated = () => undefined, timeoutMs = 500 } = options;
  return flagFrom(async (owner, caller) => {
    try {
      const isOn = await within(timeoutMs, evaluate(options.client, { owner, caller }));
      onEvaluated();
      return isOn;
    } catch (cause) {
      const why = messageOf(cause);
      const message = `${KEY_MANAGEMENT_FLAG} is off for ${owner}, since it could not be evaluated: ${why}`;
      onError(new Error(`${message}. Check what CLAVIGER_FLAGS_FILE names`, { cause }));
      return false;
    }
  });
}

/** The flag without a configured provider: on for all owners. */
export const ALWAYS_ON: FeatureFlag = flagFrom(async () => true);

function flagFrom(isOn: FeatureFlag["isOn"]): FeatureFlag {
  return {
    isOn,
    async requireFeature(owner, caller) {
      if (!(await isOn(owner, caller))) throw featureDisabled(owner);
    },
  };
}

async function evaluate(
  client: FeatureFlagOptions["client"],
  about: { readonly owner: string; readonly caller: FlagCaller },
): Promise<boolean> {
  const { owner, caller } = about;
  const context = { targetingKey: owner, callerKind: caller.kind, callerOwner: caller.owner };
  const details = await client.getBooleanDetails(KEY_MANAGEMENT_FLAG, false, context);
  if (details.errorCode !== undefined) {
    throw new Error(details.errorMessage ? `${details.errorMessage} (${details.errorCode})` : details.errorCode);
  }
  // The provider is foreign code, and the SDK of OpenFeature does not check its answer.
  if (typeof details.value !== "boolean") throw new Error("the provider's answer is not a boolean");
  return details.value;
}

function featureDisabled(owner: string): ClavigerError {
  return new ClavigerError(
    "FEATURE_DISABLED",
    `API key management is off for ${owner}. It is switched on by the operator's flag ${KEY_MANAGEMENT_FLAG}`,
    { metadata: { flag: KEY_MANAGEMENT_FLAG, owner } },
  );
}
