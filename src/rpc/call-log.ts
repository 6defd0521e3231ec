import { isMessage, type Message } from "@bufbuild/protobuf";
import { Code, type ConnectError } from "@connectrpc/connect";
import { Verdict, type VerifyResponse, VerifyResponseSchema } from "#gen/claviger/v1/key_verifier_pb.js";
import { ErrorInfoSchema } from "#gen/google/rpc/error_details_pb.js";
import type { Caller } from "../access/caller.ts";
import type { Verdict as VerdictName } from "../keys/lifecycle.ts";
import { redactSecrets } from "../keys/secret.ts";
import type { Clocks } from "../system/clocks.ts";
import type { Call } from "./call.ts";

/** Writes a line, which ends with a newline. */
export type WriteLine = (line: string) => void;

export interface CallLogOptions {
  /** Takes the lines of all calls; undefined where the log level leaves them out. */
  readonly debug: WriteLine | undefined;
  /** Takes the lines of refused callers; undefined where the log level leaves them out. */
  readonly info: WriteLine | undefined;
  /** Whether a line of that refused caller may be written at `info`; its further lines are written at `debug`. */
  readonly allowsRefused?: (caller: string) => boolean;
  readonly clocks: Clocks;
  /** Called after each call, with its gRPC status code and its duration in milliseconds. */
  readonly onCall?: (method: string, code: string, durationMs: number) => void;
}

interface Outcome {
  /** As gRPC spells it, such as `NOT_FOUND`. */
  readonly code: string;
  readonly verdict?: string | undefined;
  readonly reason?: string | undefined;
}

/**
 * Writes one line for each call, at `debug`; at `info` for a caller that was refused (`UNAUTHENTICATED`,
 * `PERMISSION_DENIED`). A line holds names, numbers, ids, the owner and the peer's address, and nothing else that was
 * sent. It is put together here and not by pino, since each verification has one.
 */
export class CallLog {
  readonly #options: CallLogOptions;
  #wallMs = 0;
  #time = "";

  constructor(options: CallLogOptions) {
    this.#options = options;
  }

  /** Notes when the call came. */
  begin(call: Call): void {
    call.startMs = this.#options.clocks.monotonicMs();
  }

  answered(method: string, call: Call, message: unknown): void {
    this.#end(method, call, { code: "OK", verdict: verdictOf(message) });
  }

  /** A verification that was answered past the router. */
  verified(method: string, call: Call, verdict: VerdictName): void {
    this.#end(method, call, { code: "OK", verdict: verdict.toUpperCase() });
  }

  refused(method: string, call: Call, error: ConnectError): void {
    if (call.isLogged) return;
    const [info] = error.findDetails(ErrorInfoSchema);
    this.#end(method, call, { code: codeName(error.code), reason: info?.reason });
  }

  /** A call that was refused before any of it was read. */
  overloaded(method: string, call: Call): void {
    this.#end(method, call, { code: "UNAVAILABLE", reason: "OVERLOADED" });
  }

  /** Logs each call once; later outcomes of the same call are ignored. */
  #end(method: string, call: Call, outcome: Outcome): void {
    if (call.isLogged) return;
    call.isLogged = true;
    const { debug, info, onCall, clocks } = this.#options;
    // A call that the HTTP layer refused was never begun.
    const elapsedMs = call.startMs === undefined ? 0 : clocks.monotonicMs() - call.startMs;
    const durationMs = Math.round(elapsedMs * 1000) / 1000;
    onCall?.(method, outcome.code, durationMs);
    if (info !== undefined && REFUSED.has(outcome.code) && this.#allowsRefused(call.caller)) {
      info(this.#line("info", method, call, outcome, durationMs));
    } else if (debug !== undefined) {
      debug(this.#line("debug", method, call, outcome, durationMs));
    }
  }

  #allowsRefused(caller: Caller): boolean {
    const { allowsRefused } = this.#options;
    return allowsRefused === undefined || allowsRefused(nameOf(caller));
  }

  #line(level: string, method: string, call: Call, { code, verdict, reason }: Outcome, durationMs: number): string {
    const { caller } = call;
    return (
      `{"level":"${level}","time":"${this.#timeNow()}","event":"call","method":"${method}","code":"${code}"` +
      `${named("verdict", verdict)}${named("reason", reason)},"durationMs":${durationMs},"caller":"${caller.kind}"` +
      `${identityOf(caller)}${named("requestId", call.requestId)},"msg":"call"}\n`
    );
  }

  #timeNow(): string {
    const wallMs = this.#options.clocks.wallMs();
    if (wallMs !== this.#wallMs) this.#time = new Date(wallMs).toISOString();
    this.#wallMs = wallMs;
    return this.#time;
  }
}

const REFUSED: ReadonlySet<string> = new Set(["UNAUTHENTICATED", "PERMISSION_DENIED"]);

/** The code as gRPC spells it: https://grpc.io/docs/guides/status-codes/ */
export function codeName(code: Code): string {
  return CODE_NAMES.get(code) ?? String(code);
}

const CODE_NAMES = new Map<Code, string>([
  [Code.Canceled, "CANCELLED"],
  [Code.Unknown, "UNKNOWN"],
  [Code.InvalidArgument, "INVALID_ARGUMENT"],
  [Code.DeadlineExceeded, "DEADLINE_EXCEEDED"],
  [Code.NotFound, "NOT_FOUND"],
  [Code.AlreadyExists, "ALREADY_EXISTS"],
  [Code.PermissionDenied, "PERMISSION_DENIED"],
  [Code.ResourceExhausted, "RESOURCE_EXHAUSTED"],
  [Code.FailedPrecondition, "FAILED_PRECONDITION"],
  [Code.Aborted, "ABORTED"],
  [Code.OutOfRange, "OUT_OF_RANGE"],
  [Code.Unimplemented, "UNIMPLEMENTED"],
  [Code.Internal, "INTERNAL"],
  [Code.Unavailable, "UNAVAILABLE"],
  [Code.DataLoss, "DATA_LOSS"],
  [Code.Unauthenticated, "UNAUTHENTICATED"],
]);

function nameOf(caller: Caller): string {
  return caller.kind === "service" ? caller.keyId : caller.kind === "system" ? caller.kind : caller.address;
}

/** Key id, owner and address as far as they are known. An owner may be any text, also a secret that was put there. */
function identityOf(caller: Caller): string {
  const keyId = caller.kind === "service" ? named("keyId", caller.keyId) : "";
  const owner =
    caller.kind === "service" || caller.kind === "user"
      ? `,"owner":${JSON.stringify(redactSecrets(caller.owner))}`
      : "";
  const address = caller.address === "" ? "" : `,"address":${JSON.stringify(caller.address)}`;
  return `${keyId}${owner}${address}`;
}

function named(name: string, value: string | undefined): string {
  return value === undefined || value === "" ? "" : `,"${name}":"${value}"`;
}

const VERDICT_NAMES = new Map<number, string>(Object.entries(Verdict).map(([name, value]) => [value, name]));

function verdictOf(message: unknown): string | undefined {
  if (!isMessage(message as Message, VerifyResponseSchema)) return undefined;
  return VERDICT_NAMES.get((message as VerifyResponse).verdict) ?? "UNSPECIFIED";
}
