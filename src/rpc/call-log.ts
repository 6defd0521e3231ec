import { isMessage, type Message } from "@bufbuild/protobuf";
import { Code, type ConnectError } from "@connectrpc/connect";
import { Verdict, type VerifyResponse, VerifyResponseSchema } from "#gen/claviger/v1/key_verifier_pb.js";
import { ErrorInfoSchema } from "#gen/google/rpc/error_details_pb.js";
import type { Verdict as VerdictName } from "../keys/verdict.ts";
import type { Clocks } from "../verify/clocks.ts";
import type { Call } from "./call.ts";

export interface CallLogOptions {
  /** Takes a JSON object with a newline; undefined: nothing is logged. */
  readonly logLine: ((line: string) => void) | undefined;
  readonly clocks: Clocks;
}

interface Outcome {
  readonly code: string;
  readonly verdict?: string | undefined;
  readonly reason?: string | undefined;
}

/**
 * Writes the one line that every call leaves in the log: names, numbers and ids of known forms, nothing that was sent,
 * and nothing that JSON would have to escape. So it is put together here, past pino, for each verification.
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
    this.#write(method, call, { code: "ok", verdict: verdictOf(message) });
  }

  /** A verification that was answered past the router. */
  verified(method: string, call: Call, verdict: VerdictName): void {
    this.#write(method, call, { code: "ok", verdict: verdict.toUpperCase() });
  }

  refused(method: string, call: Call, error: ConnectError): void {
    const [info] = error.findDetails(ErrorInfoSchema);
    this.#write(method, call, { code: Code[error.code] ?? String(error.code), reason: info?.reason });
  }

  /** A call that was refused before anything was made of it. */
  overloaded(method: string, call: Call): void {
    this.#write(method, call, { code: "Unavailable", reason: "OVERLOADED" });
  }

  /** A call that nobody else could log: its message was too large, or could not be decoded. */
  unread(method: string, call: Call): void {
    this.#write(method, call, { code: "unread" });
  }

  /** Once a call: what comes of one whose caller has been answered already, or is gone, is nobody's affair. */
  #write(method: string, call: Call, { code, verdict, reason }: Outcome): void {
    const { logLine, clocks } = this.#options;
    if (call.isLogged) return;
    call.isLogged = true;
    if (logLine === undefined) return;
    const { kind, requestId } = call.caller;
    const durationMs = Math.round((clocks.monotonicMs() - call.startMs) * 1000) / 1000;
    const about = verdict === undefined ? named("reason", reason) : named("verdict", verdict);
    logLine(
      `{"level":"info","time":"${this.#timeNow()}","event":"call","method":"${method}","code":"${code}"${about},` +
        `"durationMs":${durationMs},"caller":"${kind}","requestId":"${requestId}","msg":"call"}\n`,
    );
  }

  #timeNow(): string {
    const wallMs = this.#options.clocks.wallMs();
    if (wallMs !== this.#wallMs) this.#time = new Date(wallMs).toISOString();
    this.#wallMs = wallMs;
    return this.#time;
  }
}

function named(name: string, value: string | undefined): string {
  return value === undefined ? "" : `,"${name}":"${value}"`;
}

const VERDICT_NAMES = new Map<number, string>(Object.entries(Verdict).map(([name, value]) => [value, name]));

function verdictOf(message: unknown): string | undefined {
  if (!isMessage(message as Message, VerifyResponseSchema)) return undefined;
  return VERDICT_NAMES.get((message as VerifyResponse).verdict) ?? "UNSPECIFIED";
}
