/** The cause of a warning. Causes of a server are named after its `ErrorReason`: `CLAVIGER_STORAGE_UNAVAILABLE`. */
export type WarningCode =
  | "CLAVIGER_TOKEN_MISSING"
  | "CLAVIGER_TOKEN_REFUSED"
  | "CLAVIGER_TOKEN_LACKS_SCOPE"
  | "CLAVIGER_TOKEN_ENDS"
  | "CLAVIGER_HOST_NOT_FOUND"
  | "CLAVIGER_NO_TLS"
  | "CLAVIGER_CERTIFICATE_REFUSED"
  | "CLAVIGER_NOT_A_SERVER"
  | "CLAVIGER_SERVER_UNREACHABLE"
  | `CLAVIGER_${string}`;

/** A warning for the operator of a service about its verifier. The message ends with what to do; it contains no secret. */
export class VerifierWarning extends Error {
  override readonly name = "ClavigerWarning";
  readonly code: WarningCode;

  constructor(code: WarningCode, message: string, cause?: unknown) {
    super(message, { cause });
    this.code = code;
  }
}

/** The default: a warning of the process, which Node prints and passes to `process.on("warning", …)`. */
export function warnProcess(warning: VerifierWarning): void {
  process.emitWarning(warning);
}
