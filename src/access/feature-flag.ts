import type { Client } from "@openfeature/server-sdk";
import { ClavigerError } from "../keys/errors.ts";
import { within } from "./within.ts";

/** The flag that switches the making and changing of keys on, owner by owner. */
export const KEY_MANAGEMENT_FLAG = "enable-api-key-management";

/** Who calls, as far as rules of a flag may ask: the kind, and the owner (empty if there is none). */
export interface FlagCaller {
  readonly kind: string;
  readonly owner: string;
}

/** Whether a feature is on for an owner. */
export interface FeatureFlag {
  /** Never rejects, and answers in bounded time. `owner` is the one acted upon, who need not be the caller. */
  isOn(owner: string, caller: FlagCaller): Promise<boolean>;
  /** @throws ClavigerError `FEATURE_DISABLED` unless it is on. */
  requireFeature(owner: string, caller: FlagCaller): Promise<void>;
}

export interface FeatureFlagOptions {
  /** Asked anew each time, so that switching needs no restart. */
  readonly client: Pick<Client, "getBooleanDetails">;
  /** Told why the flag could not be evaluated; the message is complete. */
  readonly onError: (error: Error) => void;
  /** Told of each evaluation. Default: told nothing. */
  readonly onEvaluated?: () => void;
  /** Milliseconds that the provider may take. Default 500: a call can bear it, and providers answer from memory. */
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
      const why = cause instanceof Error ? cause.message : String(cause);
      const message = `${KEY_MANAGEMENT_FLAG} is off for ${owner}, since it could not be evaluated: ${why}`;
      onError(new Error(`${message}. Check what CLAVIGER_FLAGS_FILE names`, { cause }));
      return false;
    }
  });
}

/** The flag where no operator configured one: on for everybody. */
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
  // Providers are not ours: the SDK does not check what they answer.
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
