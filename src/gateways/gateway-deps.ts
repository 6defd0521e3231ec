import type { ConnectError } from "@connectrpc/connect";
import type { Call } from "../rpc/call.ts";
import type { CallLog } from "../rpc/call-log.ts";
import type { Gate } from "../rpc/gate.ts";
import type { MeteredVerifier } from "../usage/metered-verifier.ts";
import type { GatewayAnswer } from "./decide.ts";
import type { DeclaredAccess } from "./declared-access.ts";
import type { FindPolicy } from "./policies.ts";
import type { UsageMethods } from "./usage-methods.ts";

/** The parts that all dialects of gateways share. */
export interface GatewayDeps {
  readonly gate: Gate;
  readonly verifier: Pick<MeteredVerifier, "verify" | "verifyCached">;
  readonly callLog: CallLog;
  readonly policies: FindPolicy;
  readonly declared: DeclaredAccess;
  readonly usageMethods: UsageMethods;
  /** The number of proxies in front that append to `x-forwarded-for`; undefined: only the peer's address counts. */
  readonly trustedHops: number | undefined;
  /** Turns what was thrown into its wire form, and logs a defect. */
  readonly present: (error: unknown, requestId: string) => ConnectError;
}

/** Writes the line of a call whose question was decided. */
export function logDecision(
  { callLog }: Pick<GatewayDeps, "callLog">,
  method: string,
  call: Call,
  answer: GatewayAnswer,
): void {
  const verdict = answer.kind === "allowed" ? "valid" : answer.kind === "denied" ? answer.verdict : undefined;
  if (verdict === undefined) callLog.answered(method, call, undefined);
  else callLog.verified(method, call, verdict);
}
