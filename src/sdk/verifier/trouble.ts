import { Code, ConnectError } from "@connectrpc/connect";
import { ErrorInfoSchema } from "#gen/google/rpc/error_details_pb.js";
import { redactSecrets } from "../../keys/secret.ts";
import { NoSecretError } from "../attach/watched-file.ts";
import type { WarningCode } from "./verifier-warning.ts";

/** A cause that keeps a verifier from its work. */
export interface Trouble {
  readonly code: WarningCode;
  /** For the operator of the service. Ends with what to do. */
  readonly message: string;
  /** Whether it lasts until the operator corrects the set-up, so that a retry does not help. */
  readonly isPermanent: boolean;
}

/** The `metadata` name in `ErrorInfo` under which an error of this package carries the code of its trouble. */
export const TROUBLE_CODE = "warning";

const NEW_KEY =
  "Create a key with the scope claviger:verify (`claviger keys create --scope claviger:verify`), and pass its secret as " +
  "token, or in CLAVIGER_TOKEN or CLAVIGER_TOKEN_FILE";

/** @param url the address that the verifier asked; undefined if it is unknown or the error contains it */
export function troubleOf(error: unknown, url = "the server"): Trouble {
  const { secretError, codes, connectError } = chainOf(error);
  if (secretError !== undefined) {
    return permanent("CLAVIGER_TOKEN_MISSING", `the verifier has no key of its own: ${secretError.message}`);
  }
  const info = connectError?.findDetails(ErrorInfoSchema).find(({ domain }) => domain === "claviger");
  const message = connectError === undefined ? "" : redactSecrets(connectError.rawMessage);
  const known = info?.metadata[TROUBLE_CODE];
  if (known !== undefined) {
    return { code: known as WarningCode, message, isPermanent: info?.reason === "VERIFIER_MISCONFIGURED" };
  }
  if (connectError?.code === Code.Unauthenticated) {
    const why = info?.metadata.verdict ?? message;
    return permanent("CLAVIGER_TOKEN_REFUSED", `${url} does not accept the verifier's own key (${why}). ${NEW_KEY}`);
  }
  if (connectError?.code === Code.PermissionDenied) {
    return permanent(
      "CLAVIGER_TOKEN_LACKS_SCOPE",
      `the verifier's own key lacks the scope claviger:verify. ${NEW_KEY}`,
    );
  }
  if (info !== undefined) {
    return transient(`CLAVIGER_${info.reason}`, `${url} cannot verify keys: ${message}`);
  }
  return unreachable(url, codes, connectError);
}

/** The error is not of a server: the connection failed, or another program answers. */
function unreachable(url: string, codes: readonly string[], error: ConnectError | undefined): Trouble {
  const has = (pattern: RegExp) => codes.find((code) => pattern.test(code));
  if (has(/^ENOTFOUND$/)) {
    const message = `the host name in ${url} is unknown (ENOTFOUND). Correct url, or CLAVIGER_URL`;
    return permanent("CLAVIGER_HOST_NOT_FOUND", message);
  }
  const refused = has(/CERT|^UNABLE_TO_|^HOSTNAME_MISMATCH$/);
  if (refused !== undefined) {
    const message = `the certificate of ${url} was rejected (${refused}). Pass its authority as nodeOptions: { ca }`;
    return permanent("CLAVIGER_CERTIFICATE_REFUSED", message);
  }
  if (has(/^(ERR_SSL_|EPROTO$)/)) {
    return permanent("CLAVIGER_NO_TLS", `${url} does not use TLS. Write http://, or the port that uses TLS`);
  }
  if (error?.code === Code.Unimplemented || has(/^ERR_HTTP2_ERROR$/)) {
    const message = `${url} is not a Claviger server. Correct url, or CLAVIGER_URL; a proxy must forward HTTP/2`;
    return permanent("CLAVIGER_NOT_A_SERVER", message);
  }
  const why = codes[0] ?? (error?.code === Code.Canceled ? closedAtOnce(url) : (error?.rawMessage ?? "no answer"));
  const message = `Claviger cannot be reached at ${url} (${redactSecrets(why)}). The verifier retries. Start Claviger, or correct url`;
  return transient("CLAVIGER_SERVER_UNREACHABLE", message);
}

/** A TLS port closes a connection without TLS. */
function closedAtOnce(url: string): string {
  return `the connection was closed${url.startsWith("http:") ? "; if the port uses TLS, write https://" : ""}`;
}

function permanent(code: WarningCode, message: string): Trouble {
  return { code, message, isPermanent: true };
}

function transient(code: WarningCode, message: string): Trouble {
  return { code, message, isPermanent: false };
}

/** The relevant errors among an error and its causes, and Node's codes (`ECONNREFUSED`), outermost first. */
function chainOf(error: unknown): {
  readonly secretError: NoSecretError | undefined;
  readonly connectError: ConnectError | undefined;
  readonly codes: readonly string[];
} {
  let secretError: NoSecretError | undefined;
  let connectError: ConnectError | undefined;
  const codes: string[] = [];
  for (let at = error, depth = 0; at instanceof Error && depth < 9; at = at.cause, depth++) {
    if (at instanceof NoSecretError) secretError ??= at;
    if (at instanceof ConnectError) connectError ??= at;
    else if ("code" in at && typeof at.code === "string") codes.push(at.code);
  }
  return { secretError, connectError, codes };
}
