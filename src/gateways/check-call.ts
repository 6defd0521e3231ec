import { fromBinary, toBinary } from "@bufbuild/protobuf";
import type { ConnectError, ServiceImpl } from "@connectrpc/connect";
import {
  Authorization,
  type CheckRequest,
  CheckRequestSchema,
  type CheckResponse,
  CheckResponseSchema,
} from "#gen/envoy/service/auth/v3/external_auth_pb.js";
import { type Call, callOf } from "../rpc/call.ts";
import { askerOf } from "../rpc/key-verifier.ts";
import type { Lane } from "../usage/metered-verifier.ts";
import { ANY_KEY, type MethodAccess } from "../wire/access.ts";
import { readCredential } from "../wire/credential.ts";
import { areRequiredScopes } from "../wire/question.ts";
import { checkAnswer } from "./check-answer.ts";
import { type CheckFacts, checkFacts } from "./check-facts.ts";
import { clientAddress } from "./client-address.ts";
import { decideForGateway, type GatewayAnswer, unknownPolicy, unknownRequirements } from "./decide.ts";
import { type GatewayDeps, logDecision } from "./gateway-deps.ts";
import { isGrpcType } from "./usage-methods.ts";

const METHOD = `${Authorization.typeName}/${Authorization.method.check.name}`;

/** `envoy.service.auth.v3.Authorization/Check`, past the router and through it. Not decided: the RPC ends in an error. */
export class CheckCall {
  readonly path = `/${METHOD}`;
  readonly #deps: GatewayDeps;

  constructor(deps: GatewayDeps) {
    this.#deps = deps;
  }

  /** For Connect's router, whose interceptors log the call. */
  get service(): ServiceImpl<typeof Authorization> {
    return {
      check: async (request, { values }) => {
        const facts = checkFacts(request);
        return checkAnswer(await this.#decide(facts, callOf(values), "router"), facts);
      },
    };
  }

  enter(call: Call, askedId: string | null): string {
    return this.#deps.gate.enter(call, askedId);
  }

  admit(call: Call, authorization: string | null): Promise<void> | undefined {
    return this.#deps.gate.admit({ method: METHOD, call, authorization });
  }

  /** As `VerifyCall.answer`. */
  answer(body: Buffer, call: Call, prefix: number): Buffer | Promise<Buffer> {
    const request: CheckRequest = fromBinary(CheckRequestSchema, body.subarray(prefix), { readUnknownFields: false });
    const facts = checkFacts(request);
    const finish = (answer: GatewayAnswer) => {
      logDecision(this.#deps, METHOD, call, answer);
      return framed(checkAnswer(answer, facts), prefix);
    };
    try {
      const answer = this.#decide(facts, call, "fast");
      if (!(answer instanceof Promise)) return finish(answer);
      return answer.then(finish).catch((error: unknown) => {
        throw this.#refuse(error, call);
      });
    } catch (error) {
      throw this.#refuse(error, call);
    }
  }

  abandoned(call: Call, error: ConnectError): void {
    this.#deps.callLog.refused(METHOD, call, error);
  }

  #decide(facts: CheckFacts, call: Call, lane: Lane): GatewayAnswer | Promise<GatewayAnswer> {
    const { verifier, trustedHops, usageMethods } = this.#deps;
    const access = this.#accessOf(facts);
    if ("kind" in access) return access;
    const { method, path, configuredMethod: configured } = facts;
    const question = {
      credential: readCredential(facts),
      access,
      clientIp: clientAddress(trustedHops, facts),
      method: usageMethods.of({ method, path, isGrpc: isGrpcType(facts.contentType), configured }),
    };
    return decideForGateway(verifier, question, askerOf(call, lane));
  }

  /** The requirements that the gateway's configuration names, and only without any those of the method's own proto. */
  #accessOf({ policy, scopes, path }: CheckFacts): MethodAccess | GatewayAnswer {
    const { policies, declared } = this.#deps;
    if (policy !== undefined) return policies(policy) ?? unknownPolicy(policy);
    if (scopes === undefined) return declared.of(path) ?? ANY_KEY;
    const required = scopes.split(/[\s,]+/).filter((scope) => scope !== "");
    // An empty list is more likely a template without its value than a wish for any key.
    if (required.length > 0 && areRequiredScopes(required)) return { scopes: required, anonymous: false };
    return unknownRequirements("the gateway's claviger.scopes are not scopes", {});
  }

  #refuse(error: unknown, call: Call): ConnectError {
    const { present, callLog } = this.#deps;
    const refusal = present(error, call.requestId);
    callLog.refused(METHOD, call, refusal);
    return refusal;
  }
}

function framed(response: CheckResponse, prefix: number): Buffer {
  const bytes = toBinary(CheckResponseSchema, response);
  const whole = Buffer.allocUnsafe(prefix + bytes.length);
  whole.set(bytes, prefix);
  return whole;
}
