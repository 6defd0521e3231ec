import { Code, type ConnectError } from "@connectrpc/connect";
import { BadRequestSchema, ErrorInfoSchema } from "#gen/google/rpc/error_details_pb.js";
import { CliError, EXIT, type ExitCode, type Violation } from "./cli-error.ts";
import { describeSpan } from "./input/duration.ts";

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

/** The exit code after a call failed: 3 if Claviger refused, 4 if nothing was decided. */
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
  /** Whether a call that changes something was sent. */
  readonly mayHaveChanged: boolean;
  /** See `Endpoint.profileUrl`. */
  readonly profileUrl?: string | undefined;
}

/** Turns what a client threw into what is shown. */
export function callError(error: ConnectError, target: CallTarget): CliError {
  const info = error.findDetails(ErrorInfoSchema)[0];
  const reason = info?.reason ?? "";
  const violations = error.findDetails(BadRequestSchema).flatMap((details) => details.fieldViolations);
  const broken = violations.map(violationInOwnWords);
  const [first, ...others] = broken;
  const advice = reason === "CREDENTIAL_MISSING" ? (otherProfile(target) ?? ADVICE[reason]) : ADVICE[reason];
  return new CliError({
    message: first === undefined ? messageOf(error, target) : others.length === 0 ? first : "some values are not valid",
    exitCode: exitCodeOfCall(error),
    code: codeName(error.code),
    reason,
    metadata: info?.metadata ?? {},
    violations,
    details: [...(others.length === 0 ? [] : broken), ...(advice === undefined ? [] : [advice])],
    cause: error,
  });
}

const ADVICE: Readonly<Record<string, string>> = {
  CREDENTIAL_MISSING: "set CLAVIGER_TOKEN, or CLAVIGER_TOKEN_FILE, to a key that may do this, or run `claviger login`",
  CREDENTIAL_INVALID:
    "set CLAVIGER_TOKEN, or CLAVIGER_TOKEN_FILE, to a key that is valid, or run `claviger login` again",
};

function otherProfile({ url, profileUrl }: CallTarget): string | undefined {
  if (profileUrl === undefined) return undefined;
  return `the profile is for ${profileUrl}, and its key is not sent to ${url}: correct CLAVIGER_URL or --url, set CLAVIGER_TOKEN, or make another profile with \`claviger login --profile\``;
}

/** OpenSSL's errors where the other side answers a TLS handshake with another protocol. */
const NO_TLS = /SSL routines|wrong version number|packet length too long|EPROTO/i;

function messageOf(error: ConnectError, { url, timeoutMs, command, mayHaveChanged }: CallTarget): string {
  if (reasonOf(error) !== "") return inOwnWords(error.rawMessage);
  if (exitCodeOfCall(error) !== EXIT.undecided) return error.rawMessage;
  if (url.startsWith("https:") && NO_TLS.test(error.rawMessage)) {
    return `what listens at ${url} does not speak TLS: write the address with http://, or start the proxy that speaks TLS`;
  }
  const change = mayHaveChanged ? "a change may have been made all the same; look, then " : "";
  if (error.code === Code.DeadlineExceeded) {
    return `no answer from ${url} within ${describeSpan(timeoutMs)}: ${change}repeat, with a longer --timeout if need be`;
  }
  const said = error.rawMessage.trim().replace(/\s+/g, " ");
  if (error.code === Code.Unavailable) {
    return `cannot reach ${url} (${said}): is the server running? start it with \`${command} serve\`, or set CLAVIGER_URL`;
  }
  return `the connection to ${url} failed (${said}): ${change}${change === "" ? "" : "repeat; "}check that a Claviger listens there`;
}

function reasonOf(error: ConnectError): string {
  return error.findDetails(ErrorInfoSchema)[0]?.reason ?? "";
}

/** `DeadlineExceeded` → `DEADLINE_EXCEEDED`. */
function codeName(code: Code): string {
  return (Code[code] ?? "Unknown").replace(/(?<=[a-z])(?=[A-Z])/g, "_").toUpperCase();
}

/** The flags of the command line for fields of the API. */
const NAMES: Readonly<Record<string, string>> = {
  display_name: "--name",
  owner: "--owner",
  environment: "--environment",
  scopes: "--scope",
  required_scopes: "--scope",
  labels: "--label",
  label_selector: "--label",
  metadata: "--metadata",
  allowed_cidrs: "--cidr",
  ttl: "--ttl",
  grace_period: "--grace",
  limits: "the limits",
  requests_per_second: "--requests-per-second",
  burst: "--burst",
  requests_per_day: "--requests-per-day",
  expires_before: "--expires-before",
  unused_since: "--unused-since",
  page_size: "--page-size",
  page_token: "--page-token",
  start_time: "the first day or instant",
  end_time: "--until",
  group_by: "--by",
  step: "the number of days",
  actor: "--actor",
  key_id: "the key id",
  id: "the key id",
  version: "--version",
  secret: "the secret",
  client_ip: "--ip",
  method: "--method",
  cost: "--cost",
  reason: "--reason",
  note: "--note",
  source: "--source",
  etag: "--etag",
  state: "--state",
  update_mask: "what to change",
  request_id: "the request id",
  held_fields: "the held fields",
};

/** A violation as people at the command line read it: `key.allowed_cidrs[1]` is `--cidr`. */
export function violationInOwnWords({ field, description }: Violation): string {
  const path = field.replace(/\[.*?\](?=\.|\[|$)/gs, "");
  const leaf = path.slice(path.lastIndexOf(".") + 1);
  return `${NAMES[leaf] ?? leaf.replaceAll("_", " ")} ${inOwnWords(description)}`;
}

/** A message of the server with the names of the command line in the place of those of the API. */
export function inOwnWords(text: string): string {
  return text.replace(/(?<![\w:.-])[a-z]+(?:_[a-z]+)+(?![\w:-])/g, (name) => NAMES[name] ?? name);
}
