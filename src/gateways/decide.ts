import { Code } from "@connectrpc/connect";
import type { Verdict } from "../keys/lifecycle.ts";
import { ENVIRONMENTS } from "../rpc/codec/to-proto.ts";
import type { Asker, Metered, MeteredVerifier } from "../usage/metered-verifier.ts";
import type { MethodAccess } from "../wire/access.ts";
import type { Credential } from "../wire/credential.ts";
import { QUESTION_LIMITS } from "../wire/question.ts";
import {
  CREDENTIAL_MISSING,
  CREDENTIAL_TOO_LONG,
  CREDENTIALS_CONFLICT,
  internalError,
  type Refusal,
  refusalOf,
} from "../wire/refusal.ts";
import { VERDICTS } from "../wire/verdicts.ts";

/** A gateway's question about one request of its client. */
export interface GatewayQuestion {
  readonly credential: Credential;
  readonly access: MethodAccess;
  /** The address of the gateway's client; empty if it is not known, and keys with `allowed_cidrs` are then denied. */
  readonly clientIp: string;
  /** For usage counts, `/package.Service/Method`. */
  readonly method: string;
}

export type GatewayAnswer =
  | { readonly kind: "allowed"; readonly metered: Metered }
  | { readonly kind: "anonymous" }
  | { readonly kind: "denied"; readonly refusal: Refusal; readonly verdict: Verdict | undefined };

/**
 * The one decision behind every dialect of gateways: that of `Verify`. Returns no promise where memory has the answer.
 *
 * @throws ClavigerError if it could not be decided; a promise then rejects with it
 */
export function decideForGateway(
  verifier: Pick<MeteredVerifier, "verify" | "verifyCached">,
  question: GatewayQuestion,
  asker: Asker,
): GatewayAnswer | Promise<GatewayAnswer> {
  const { credential, access, clientIp, method } = question;
  if (credential.kind === "conflict") return denied(CREDENTIALS_CONFLICT);
  if (credential.kind === "none") return access.anonymous ? { kind: "anonymous" } : denied(CREDENTIAL_MISSING);
  const secret = credential.secret.reveal();
  if (Buffer.byteLength(secret) > QUESTION_LIMITS.secretBytes) return denied(CREDENTIAL_TOO_LONG);
  const command = { secret, requiredScopes: access.scopes, clientIp, method, cost: 1, environment: undefined };
  const cached = verifier.verifyCached(command, asker);
  return cached === undefined ? verifier.verify(command, asker).then(answerOf) : answerOf(cached);
}

/** A denial whatever the key is: the gateway asks under requirements that this server does not know. */
export function unknownRequirements(problem: string, metadata: Refusal["metadata"]): GatewayAnswer {
  const message = `${problem}. Report it to the operator of the gateway`;
  return denied({ code: Code.PermissionDenied, reason: "PERMISSION_DENIED", message, metadata });
}

export function unknownPolicy(policy: string): GatewayAnswer {
  return unknownRequirements("the gateway names a policy that is not in the policies file", { policy });
}

function answerOf(metered: Metered): GatewayAnswer {
  const { decision, found, retryAfterMs } = metered;
  if (decision.verdict === "valid")
    return found === undefined ? denied(internalError(new Error("VALID without a key"))) : { kind: "allowed", metered };
  const environment = found && ENVIRONMENTS[found.environment];
  const refusal = refusalOf({
    verdict: VERDICTS[decision.verdict],
    key: environment === undefined ? undefined : { environment },
    missingScopes: decision.missingScopes,
    retryAfterMs,
  });
  return denied(refusal ?? internalError(new Error("a verdict without a refusal")), decision.verdict);
}

function denied(refusal: Refusal, verdict?: Verdict): GatewayAnswer {
  return { kind: "denied", refusal, verdict };
}
