import type { ServiceImpl } from "@connectrpc/connect";
import type { KeyVerifier } from "#gen/claviger/v1/key_verifier_pb.js";
import type { Asker, Lane, MeteredCommand, MeteredVerifier } from "../usage/metered-verifier.ts";
import type { PlainRequest } from "../wire/question.ts";
import { type Call, callOf } from "./call.ts";
import { toResponse } from "./codec/encode-verification.ts";
import { nameOf } from "./codec/from-proto.ts";
import { ENVIRONMENTS } from "./codec/to-proto.ts";

/** `claviger.v1.KeyVerifier`. */
export function createKeyVerifier(
  verifier: MeteredVerifier,
  sync: ServiceImpl<typeof KeyVerifier>["sync"],
): ServiceImpl<typeof KeyVerifier> {
  return {
    sync,
    async verify(request, context) {
      return toResponse(await verifier.verify(toCommand(request), askerOf(callOf(context.values), "router")));
    },
    async batchVerify(request, context) {
      const verifications = await verifier.verifyAll(
        request.requests.map(toCommand),
        askerOf(callOf(context.values), "router"),
      );
      return { responses: verifications.map(toResponse) };
    },
  };
}

/** The caller that the gate has authenticated. */
export function askerOf({ caller }: Call, lane: Lane): Asker {
  return { callerId: caller.kind === "service" ? caller.keyId : "", lane };
}

export function toCommand(request: PlainRequest): MeteredCommand {
  const { secret, requiredScopes, clientIp, method, cost = 1, environment = 0 } = request;
  return { secret, requiredScopes, clientIp, method, cost, environment: nameOf(ENVIRONMENTS, environment) };
}
