import type { HandlerContext } from "@connectrpc/connect";
import type { Logger } from "pino";
import { type AuthenticateOptions, authenticate, secretOf } from "../access/authenticate.ts";
import type { Caller } from "../access/caller.ts";
import { METHOD_PERMISSIONS, type Permission, requirePermission } from "../access/permissions.ts";
import { ClavigerError } from "../keys/errors.ts";
import type { Random } from "../keys/random.ts";
import { redactSecrets } from "../keys/redact.ts";
import type { MeteredVerifier } from "../usage/metered-verifier.ts";
import { type Call, callOf } from "./call.ts";
import type { CallLog } from "./call-log.ts";
import type { DenialRecorder } from "./denials.ts";
import { presentError } from "./errors.ts";
import { RequestIds } from "./request-ids.ts";

const OWN_PACKAGE = "claviger.v1.";
/** What `CLAVIGER_VERIFY_ACCESS=open` opens. */
const OPENABLE: ReadonlySet<string> = new Set([
  "claviger.v1.KeyVerifier/Verify",
  "claviger.v1.KeyVerifier/BatchVerify",
]);
export const REQUEST_ID_HEADER = "x-request-id";
/** Whoever sends it, with anything, is told the epoch of the process that answers: several may share an address. */
export const PROCESS_HEADER = "x-claviger-process";

export interface GateOptions {
  /** Verifies a caller's own secret, on the way to a method. */
  readonly verifier: Pick<MeteredVerifier, "verifyCaller" | "verifyCallerCached">;
  readonly users: AuthenticateOptions["users"];
  readonly random: Random;
  readonly log: Logger;
  readonly callLog: CallLog;
  readonly recordDenial: DenialRecorder;
  /** `open`: Verify and BatchVerify need no credential. */
  readonly verifyAccess: "key" | "open";
}

/** A call whose request was not read yet. */
export interface ArrivingCall {
  /** `package.Service/Method`. */
  readonly method: string;
  readonly call: Call;
  /** The `authorization` header, if there was one. */
  readonly authorization: string | null;
}

/**
 * Says who calls and whether they may, before a byte of the request is read: `UNAUTHENTICATED` and
 * `PERMISSION_DENIED` come before every other refusal.
 */
export class Gate {
  readonly #options: GateOptions;
  readonly #ids: RequestIds;

  constructor(options: GateOptions) {
    this.#options = options;
    this.#ids = new RequestIds(options.random);
  }

  /** Notes that the call came, from where, and under which id it is known; returns the id. */
  enter(call: Call, askedId: string | null): string {
    const requestId = askedId !== null && isRequestId(askedId) ? askedId : this.#ids.next();
    this.#options.callLog.begin(call);
    call.caller = { kind: "anonymous", address: call.caller.address, requestId };
    return requestId;
  }

  /**
   * Whether the caller is known from memory to be who may call; if not, `admit` finds out. Never throws: it is called from
   * listeners, where an exception ends the process. After a defect `admit` decides again, and reports it.
   */
  admitCached(arriving: ArrivingCall): boolean {
    try {
      return this.#admitCached(arriving);
    } catch {
      return false;
    }
  }

  #admitCached({ method, call, authorization }: ArrivingCall): boolean {
    const permission = this.#permissionOf(method);
    if (permission === "open") return true;
    const secret = secretOf(authorization);
    if (secret === undefined || permission === undefined) return false;
    const { address, requestId } = call.caller;
    const command = { secret, clientIp: address, requiredScopes: [permission] };
    const found = this.#options.verifier.verifyCallerCached(command, method);
    if (found === undefined) return false;
    const { keyId, version, owner, scopes } = found;
    call.caller = { kind: "service", keyId, version, owner, scopes, address, requestId };
    return true;
  }

  /** Rejects with the refusal in its wire form, logged and remembered. */
  async admit(arriving: ArrivingCall): Promise<void> {
    const { log, callLog, recordDenial } = this.#options;
    const { method, call } = arriving;
    try {
      await this.#admit(arriving);
    } catch (error) {
      await recordDenial({ caller: call.caller, method, error, about: {} });
      const refusal = presentError(error, log, call.requestId);
      callLog.refused(method, call, refusal);
      throw refusal;
    }
  }

  async #admit({ method, call, authorization }: ArrivingCall): Promise<void> {
    const { verifier, users } = this.#options;
    const permission = this.#permissionOf(method);
    if (permission === undefined) {
      throw new ClavigerError("PERMISSION_DENIED", `nobody may call ${method}. Report it`, { metadata: { method } });
    }
    if (permission === "open") return;
    const { address, requestId } = call.caller;
    // Set also for a caller who is then refused, so that logs and the audit log know who it was.
    const identify = (caller: Caller) => {
      call.caller = caller;
    };
    await authenticate({
      ...{ authorization, users, identify },
      origin: { address, requestId },
      check: (secret, clientIp) => verifier.verifyCaller({ secret, clientIp, requiredScopes: [] }, method),
    });
    requirePermission(call.caller, permission);
  }

  #permissionOf(method: string): Permission | "open" | undefined {
    const permission = METHOD_PERMISSIONS[method];
    return OPENABLE.has(method) && this.#options.verifyAccess === "open" ? "open" : permission;
  }
}

/** The gate as Connect's router has it. */
export function createRequestGate(gate: Gate, epoch: string): (context: HandlerContext) => Promise<void> {
  return async ({ service, method, values, requestHeader, responseHeader }) => {
    const call = callOf(values);
    responseHeader.set(REQUEST_ID_HEADER, gate.enter(call, requestHeader.get(REQUEST_ID_HEADER)));
    if (requestHeader.has(PROCESS_HEADER)) responseHeader.set(PROCESS_HEADER, epoch);
    if (!service.typeName.startsWith(OWN_PACKAGE)) return;
    const authorization = requestHeader.get("authorization");
    await gate.admit({ method: `${service.typeName}/${method.name}`, call, authorization });
  };
}

/** A caller's own is taken if it has the form of an id and not that of a secret: it goes into logs and the audit log. */
function isRequestId(given: string): boolean {
  return /^[\w.:-]{1,64}$/.test(given) && redactSecrets(given) === given;
}
