/** Why a verifier warns. Those that a server gives, such as `CLAVIGER_STORAGE_UNAVAILABLE`, have the name of its `ErrorReason`. */
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

/** What the operator of a service should know about its verifier. The message ends with what to do; it holds no secret. */
export class VerifierWarning extends Error {
  override readonly name = "ClavigerWarning";
  readonly code: WarningCode;

  constructor(code: WarningCode, message: string, cause?: unknown) {
    super(message, { cause });
    this.code = code;
  }
}

/** The default: a warning of the process, which Node prints, and gives to `process.on("warning", …)`. */
export function warnProcess(warning: VerifierWarning): void {
  process.emitWarning(warning);
}
