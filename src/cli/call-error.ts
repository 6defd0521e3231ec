import { Code, type ConnectError } from "@connectrpc/connect";
import { BadRequestSchema, ErrorInfoSchema } from "#gen/google/rpc/error_details_pb.js";
import { CliError } from "./cli-error.ts";
import { EXIT, type ExitCode } from "./exit-code.ts";

/** Codes that say that nothing was decided. */
const UNDECIDED: ReadonlySet<Code> = new Set([
  Code.Unavailable,
  Code.DeadlineExceeded,
  Code.Internal,
  Code.Unknown,
  Code.Canceled,
  Code.DataLoss,
]);

/** Codes that connect-node 2.2 also gives to a broken connection (ECONNRESET is `Aborted`). Claviger's own have a reason. */
const AMBIGUOUS: ReadonlySet<Code> = new Set([Code.Aborted, Code.PermissionDenied, Code.ResourceExhausted]);

/** What the process ends with after a call failed: 3 if Claviger refused, 4 if nothing was decided. */
export function exitCodeOfCall(error: ConnectError): ExitCode {
  if (UNDECIDED.has(error.code)) return EXIT.undecided;
  if (AMBIGUOUS.has(error.code) && reasonOf(error) === "") return EXIT.undecided;
  return EXIT.refused;
}

/** Where a call went to. */
export interface CallTarget {
  readonly url: string;
  readonly timeoutMs: number;
  /** See `Shell.command`. */
  readonly command: string;
}

/** Turns what a client threw into what is shown. */
export function callError(error: ConnectError, target: CallTarget): CliError {
  const info = error.findDetails(ErrorInfoSchema)[0];
  return new CliError({
    message: messageOf(error, target),
    exitCode: exitCodeOfCall(error),
    code: codeName(error.code),
    reason: info?.reason ?? "",
    metadata: info?.metadata ?? {},
    violations: error.findDetails(BadRequestSchema).flatMap((details) => details.fieldViolations),
    advice: ADVICE[info?.reason ?? ""] ?? "",
    cause: error,
  });
}

const ADVICE: Readonly<Record<string, string>> = {
  CREDENTIAL_MISSING: "set CLAVIGER_TOKEN, or CLAVIGER_TOKEN_FILE, to a key that may do this",
  CREDENTIAL_INVALID: "set CLAVIGER_TOKEN, or CLAVIGER_TOKEN_FILE, to a key that is valid",
};

function messageOf(error: ConnectError, { url, timeoutMs, command }: CallTarget): string {
  if (reasonOf(error) !== "") return error.rawMessage;
  if (error.code === Code.DeadlineExceeded) {
    return `no answer from ${url} within ${timeoutMs} ms: a change may have been made all the same; look, then repeat, with a longer --timeout if need be`;
  }
  if (error.code === Code.Unavailable) {
    return `cannot reach ${url} (${error.rawMessage}): is the server running? start it with \`${command} serve\`, or set CLAVIGER_URL`;
  }
  if (exitCodeOfCall(error) === EXIT.undecided) {
    return `the connection to ${url} failed (${error.rawMessage}): a change may have been made all the same; check that a Claviger listens there, look, then repeat`;
  }
  return error.rawMessage;
}

function reasonOf(error: ConnectError): string {
  return error.findDetails(ErrorInfoSchema)[0]?.reason ?? "";
}

/** `DeadlineExceeded` → `DEADLINE_EXCEEDED`. */
function codeName(code: Code): string {
  return (Code[code] ?? "Unknown").replace(/(?<=[a-z])(?=[A-Z])/g, "_").toUpperCase();
}
