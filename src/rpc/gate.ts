import type { ConnectError, HandlerContext } from "@connectrpc/connect";
import type { Logger } from "pino";
import {
  type AuthenticateOptions,
  authenticate,
  bearerToken,
  credentialInvalid,
  secretOf,
} from "../access/authenticate.ts";
import type { Caller } from "../access/caller.ts";
import { METHOD_PERMISSIONS, type Permission, requirePermission } from "../access/permissions.ts";
import { ClavigerError } from "../keys/errors.ts";
import type { Keyring } from "../keys/keyring.ts";
import { redactSecrets } from "../keys/secret.ts";
import type { Random } from "../system/clocks.ts";
import type { MeteredVerifier } from "../usage/metered-verifier.ts";
import { type Call, callOf } from "./call.ts";
import type { CallLog } from "./call-log.ts";
import type { DenialRecorder } from "./denials.ts";
import { presentError } from "./errors.ts";

/** Services whose callers must be known. The others, health and reflection, are open. */
const GUARDED = /^(claviger\.v1|envoy\.service\.auth\.v3)\./;
/** Methods that `CLAVIGER_VERIFY_ACCESS=open` opens. */
const OPENABLE: ReadonlySet<string> = new Set([
  "claviger.v1.KeyVerifier/Verify",
  "claviger.v1.KeyVerifier/BatchVerify",
  "envoy.service.auth.v3.Authorization/Check",
]);
export const REQUEST_ID_HEADER = "x-request-id";
/**
 * A request with this header, whatever its value, gets the epoch of the answering process: several may share an
 * address.
 */
export const PROCESS_HEADER = "x-claviger-process";

export interface GateOptions {
  /** Verifies a caller's own secret, on the way to a method. */
  readonly verifier: Pick<MeteredVerifier, "verifyCaller" | "verifyCallerCached">;
  readonly users: AuthenticateOptions["users"];
  /** Refuses secrets that are malformed or forged without asking anything else. */
  readonly keyring: Pick<Keyring, "recognise">;
  readonly random: Random;
  readonly log: Logger;
  readonly callLog: CallLog;
  readonly recordDenial: DenialRecorder;
  /** Called with the address of each good credential. */
  readonly onCredential: (address: string) => void;
  /** `open`: Verify, BatchVerify and Check need no credential. */
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
   * Finds out who calls, and whether they may: undefined if memory says yes. Throws the refusal, in its wire form and
   * logged, where the credential alone shows it; a promise asks further, and rejects with the refusal.
   */
  admit(arriving: ArrivingCall): Promise<void> | undefined {
    if (this.#isAdmittedFromMemory(arriving)) return undefined;
    const refusal = this.#refusedAtSight(arriving);
    if (refusal !== undefined) throw this.#present(refusal, arriving);
    return this.#admitSlowly(arriving);
  }

  #isAdmittedFromMemory({ method, call, authorization }: ArrivingCall): boolean {
    const permission = this.#permissionOf(method);
    if (permission === "open") return true;
    const secret = secretOf(authorization);
    if (secret === undefined || permission === undefined) return false;
    const { address, requestId } = call.caller;
    const command = { secret, clientIp: address, requiredScopes: [permission] };
    const found = this.#options.verifier.verifyCallerCached(command, method);
    if (found === undefined) return false;
    const { keyId, version, owner, scopes, about } = found;
    call.caller = { kind: "service", keyId, version, owner, scopes, about, address, requestId };
    this.#options.onCredential(address);
    return true;
  }

  /**
   * The refusal of a credential that is missing, doubled, malformed or forged. It needs no I/O, so that no byte of the
   * body has to be read. Its caller is anonymous, and the audit log holds nothing about anonymous callers.
   */
  #refusedAtSight({ authorization }: ArrivingCall): ClavigerError | undefined {
    try {
      const credential = bearerToken(authorization);
      if (credential.includes(".") && this.#options.users !== undefined) return undefined;
      const { kind } = this.#options.keyring.recognise(credential);
      return kind === "genuine" ? undefined : credentialInvalid(kind === "forged" ? "unknown" : kind);
    } catch (error) {
      if (error instanceof ClavigerError) return error;
      throw error;
    }
  }

  async #admitSlowly(arriving: ArrivingCall): Promise<void> {
    const { recordDenial } = this.#options;
    const { method, call } = arriving;
    try {
      await this.#admit(arriving);
    } catch (error) {
      await recordDenial({ caller: call.caller, method, error, about: {} });
      throw this.#present(error, arriving);
    }
  }

  #present(error: unknown, { method, call }: ArrivingCall): ConnectError {
    const { log, callLog } = this.#options;
    const refusal = presentError(error, log, call.requestId);
    callLog.refused(method, call, refusal);
    return refusal;
  }

  async #admit({ method, call, authorization }: ArrivingCall): Promise<void> {
    const { verifier, users } = this.#options;
    const permission = this.#permissionOf(method);
    if (permission === undefined) {
      throw new ClavigerError(
        "PERMISSION_DENIED",
        `method ${method} has no permission rule. This is a server defect; please report it`,
        { metadata: { method } },
      );
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
    this.#options.onCredential(address);
    requirePermission(call.caller, permission);
  }

  #permissionOf(method: string): Permission | "open" | undefined {
    if (OPENABLE.has(method) && this.#options.verifyAccess === "open") return "open";
    return METHOD_PERMISSIONS[method];
  }
}

/** The gate as Connect's router has it. */
export function createRequestGate(gate: Gate, epoch: string): (context: HandlerContext) => Promise<void> {
  return async ({ service, method, values, requestHeader, responseHeader }) => {
    const call = callOf(values);
    responseHeader.set(REQUEST_ID_HEADER, gate.enter(call, requestHeader.get(REQUEST_ID_HEADER)));
    if (requestHeader.has(PROCESS_HEADER)) responseHeader.set(PROCESS_HEADER, epoch);
    if (!GUARDED.test(service.typeName)) return;
    const authorization = requestHeader.get("authorization");
    await gate.admit({ method: `${service.typeName}/${method.name}`, call, authorization });
  };
}

/** A caller's own is taken if it has the form of an id and not that of a secret: it goes into logs and the audit log. */
function isRequestId(given: string): boolean {
  return /^[\w.:-]{1,64}$/.test(given) && redactSecrets(given) === given;
}

const ID_BYTES = 12;
/** Ids per call of the random source: one each took 5 % of a verification, by its profile. */
const BATCH = 256;

/** Ids for calls whose caller names none: 24 hexadecimal digits of chance. */
export class RequestIds {
  readonly #random: Random;
  #digits = "";
  #at = 0;

  constructor(random: Random) {
    this.#random = random;
  }

  next(): string {
    if (this.#at === this.#digits.length) {
      this.#digits = Buffer.from(this.#random(ID_BYTES * BATCH)).toString("hex");
      this.#at = 0;
    }
    const from = this.#at;
    this.#at += 2 * ID_BYTES;
    return this.#digits.slice(from, this.#at);
  }
}
