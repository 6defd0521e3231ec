import { isMessage, type Message } from "@bufbuild/protobuf";
import { Code, type ConnectError, type ContextValues } from "@connectrpc/connect";
import type { Logger } from "pino";
import { Verdict, type VerifyResponse, VerifyResponseSchema } from "#gen/claviger/v1/key_verifier_pb.js";
import { ErrorInfoSchema } from "#gen/google/rpc/error_details_pb.js";
import type { Verdict as VerdictName } from "../keys/verdict.ts";
import { callerKey, loggedKey, startKey } from "./call.ts";

/** Writes the one line that every call leaves in the log. It holds names, numbers and ids, nothing that was sent. */
export class CallLog {
  readonly #log: Logger;
  readonly #monotonicMs: () => number;

  constructor(log: Logger, monotonicMs: () => number) {
    this.#log = log;
    this.#monotonicMs = monotonicMs;
  }

  /** Notes when the call came. */
  begin(values: ContextValues): void {
    values.set(startKey, this.#monotonicMs());
  }

  answered(method: string, values: ContextValues, message: unknown): void {
    this.#write(method, values, { code: "ok", ...verdictOf(message) });
  }

  /** A verification that was answered past the router. */
  verified(method: string, values: ContextValues, verdict: VerdictName): void {
    this.#write(method, values, { code: "ok", verdict: verdict.toUpperCase() });
  }

  refused(method: string, values: ContextValues, error: ConnectError): void {
    const [info] = error.findDetails(ErrorInfoSchema);
    this.#write(method, values, { code: Code[error.code] ?? String(error.code), reason: info?.reason });
  }

  /** A call that nobody else could log: its message was too large, or could not be decoded. */
  unread(method: string, values: ContextValues): void {
    this.#write(method, values, { code: "unread" });
  }

  /** Once a call: what comes of one whose caller has been answered already, or is gone, is nobody's affair. */
  #write(method: string, values: ContextValues, outcome: Readonly<Record<string, unknown>>): void {
    if (values.get(loggedKey)) return;
    values.set(loggedKey, true);
    const { kind, requestId } = values.get(callerKey);
    const durationMs = Math.round((this.#monotonicMs() - values.get(startKey)) * 1000) / 1000;
    this.#log.info({ event: "call", method, ...outcome, durationMs, caller: kind, requestId }, "call");
  }
}

const VERDICT_NAMES = new Map<number, string>(Object.entries(Verdict).map(([name, value]) => [value, name]));

function verdictOf(message: unknown): { readonly verdict?: string } {
  if (!isMessage(message as Message, VerifyResponseSchema)) return {};
  return { verdict: VERDICT_NAMES.get((message as VerifyResponse).verdict) ?? "UNSPECIFIED" };
}
