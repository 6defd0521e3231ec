import type { HandlerContext } from "@connectrpc/connect";
import type { Logger } from "pino";
import { authenticate } from "../access/authenticate.ts";
import { METHOD_PERMISSIONS, requirePermission } from "../access/permissions.ts";
import { ClavigerError } from "../keys/errors.ts";
import type { Random } from "../keys/random.ts";
import type { Verifier } from "../verify/verifier.ts";
import { callerKey, peerAddressKey, requestIdKey } from "./call.ts";
import { presentError } from "./errors.ts";

const OWN_PACKAGE = "claviger.v1.";
const REQUEST_ID_HEADER = "x-request-id";

export interface GateOptions {
  readonly verifier: Verifier;
  readonly random: Random;
  readonly log: Logger;
  /** `open`: Verify and BatchVerify need no credential. */
  readonly verifyAccess: "key" | "open";
}

/**
 * Says who calls and whether they may, before a byte of the request is read: `UNAUTHENTICATED` and
 * `PERMISSION_DENIED` come before every other refusal.
 */
export function createGate(options: GateOptions): (context: HandlerContext) => Promise<void> {
  return async (context) => {
    const requestId = chooseRequestId(context.requestHeader.get(REQUEST_ID_HEADER), options.random);
    context.values.set(requestIdKey, requestId);
    context.responseHeader.set(REQUEST_ID_HEADER, requestId);
    try {
      await admit(context, options);
    } catch (error) {
      throw presentError(error, options.log, requestId);
    }
  };
}

async function admit(context: HandlerContext, options: GateOptions): Promise<void> {
  if (!context.service.typeName.startsWith(OWN_PACKAGE)) return;
  const address = context.values.get(peerAddressKey);
  const method = `${context.service.typeName}/${context.method.name}`;
  const permission = METHOD_PERMISSIONS[method];
  if (permission === undefined) {
    throw new ClavigerError("PERMISSION_DENIED", `nobody may call ${method}. Report it`, { metadata: { method } });
  }
  if (permission === "open" || (permission === "claviger:verify" && options.verifyAccess === "open")) {
    context.values.set(callerKey, { kind: "anonymous", address });
    return;
  }
  const caller = await authenticate({
    authorization: context.requestHeader.get("authorization"),
    address,
    check: (secret, clientIp) => options.verifier.verify({ secret, clientIp, requiredScopes: [] }),
  });
  requirePermission(caller, permission);
  context.values.set(callerKey, caller);
}

function chooseRequestId(given: string | null, random: Random): string {
  if (given !== null && /^[\w.:-]{1,64}$/.test(given)) return given;
  return Buffer.from(random(12)).toString("hex");
}
