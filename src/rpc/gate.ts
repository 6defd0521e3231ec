import type { HandlerContext } from "@connectrpc/connect";
import type { Logger } from "pino";
import { type AuthenticateOptions, authenticate } from "../access/authenticate.ts";
import type { Caller, CallOrigin } from "../access/caller.ts";
import { METHOD_PERMISSIONS, requirePermission } from "../access/permissions.ts";
import { ClavigerError } from "../keys/errors.ts";
import type { Random } from "../keys/random.ts";
import { redactSecrets } from "../keys/redact.ts";
import type { MeteredVerifier } from "../usage/metered-verifier.ts";
import { callerKey, peerAddressKey } from "./call.ts";
import type { CallLog } from "./call-log.ts";
import type { DenialRecorder } from "./denials.ts";
import { presentError } from "./errors.ts";

const OWN_PACKAGE = "claviger.v1.";
const REQUEST_ID_HEADER = "x-request-id";

export interface GateOptions {
  /** Verifies a caller's own secret, on the way to a method. */
  readonly verifyCaller: MeteredVerifier["verifyCaller"];
  readonly users: AuthenticateOptions["users"];
  readonly random: Random;
  readonly log: Logger;
  readonly callLog: CallLog;
  readonly recordDenial: DenialRecorder;
  /** `open`: Verify and BatchVerify need no credential. */
  readonly verifyAccess: "key" | "open";
}

/**
 * Says who calls and whether they may, before a byte of the request is read: `UNAUTHENTICATED` and
 * `PERMISSION_DENIED` come before every other refusal.
 */
export function createGate(options: GateOptions): (context: HandlerContext) => Promise<void> {
  return async (context) => {
    const { values, requestHeader, responseHeader } = context;
    const requestId = chooseRequestId(requestHeader.get(REQUEST_ID_HEADER), options.random);
    const origin = { address: values.get(peerAddressKey), requestId };
    options.callLog.begin(values);
    values.set(callerKey, { kind: "anonymous", ...origin });
    responseHeader.set(REQUEST_ID_HEADER, requestId);
    const method = `${context.service.typeName}/${context.method.name}`;
    try {
      if (context.service.typeName.startsWith(OWN_PACKAGE)) await admit(context, { ...options, method, origin });
    } catch (error) {
      await options.recordDenial({ caller: values.get(callerKey), method, error, about: {} });
      const refusal = presentError(error, options.log, requestId);
      options.callLog.refused(method, values, refusal);
      throw refusal;
    }
  };
}

async function admit(
  { values, requestHeader }: HandlerContext,
  options: GateOptions & { readonly method: string; readonly origin: CallOrigin },
): Promise<void> {
  const { method, verifyCaller } = options;
  const permission = METHOD_PERMISSIONS[method];
  if (permission === undefined) {
    throw new ClavigerError("PERMISSION_DENIED", `nobody may call ${method}. Report it`, { metadata: { method } });
  }
  if (permission === "open" || (permission === "claviger:verify" && options.verifyAccess === "open")) return;
  // Set also for a caller who is then refused, so that logs and the audit log know who it was.
  const identify = (caller: Caller) => void values.set(callerKey, caller);
  await authenticate({
    authorization: requestHeader.get("authorization"),
    origin: options.origin,
    check: (secret, clientIp) => verifyCaller({ secret, clientIp, requiredScopes: [] }, method),
    users: options.users,
    identify,
  });
  requirePermission(values.get(callerKey), permission);
}

/** The caller's own, if it has the form of an id and not that of a secret: it goes into logs and the audit log. */
function chooseRequestId(given: string | null, random: Random): string {
  if (given !== null && /^[\w.:-]{1,64}$/.test(given) && redactSecrets(given) === given) return given;
  return Buffer.from(random(12)).toString("hex");
}
