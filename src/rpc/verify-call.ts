import { fromBinary } from "@bufbuild/protobuf";
import type { ConnectError } from "@connectrpc/connect";
import type { Logger } from "pino";
import { KeyVerifier, type VerifyRequest, VerifyRequestSchema } from "#gen/claviger/v1/key_verifier_pb.js";
import { ClavigerError } from "../keys/errors.ts";
import type { MeteredVerifier } from "../usage/metered-verifier.ts";
import { decodePlainly, isPlainQuestion, type PlainRequest } from "../wire/question.ts";
import type { Call } from "./call.ts";
import type { CallLog } from "./call-log.ts";
import { encodeVerification } from "./codec/encode-verification.ts";
import { presentError } from "./errors.ts";
import type { Gate } from "./gate.ts";
import { askerOf, toCommand } from "./key-verifier.ts";

/** As Connect's router calls it. */
const METHOD = `${KeyVerifier.typeName}/${KeyVerifier.method.verify.name}`;

export interface VerifyCallOptions {
  readonly gate: Gate;
  readonly verifier: MeteredVerifier;
  /** Throws `INVALID_FIELD` for a request that breaks a rule of its proto. */
  readonly validate: (request: VerifyRequest) => void;
  readonly callLog: CallLog;
  readonly log: Logger;
}

/**
 * `Verify` past the router: the same gate, rules, verifier, log and errors, in the same order, without what Connect
 * spends on each call: more than twice all of this (bench/results/verify-beside-connect.json). Nothing is awaited when memory has the answer.
 */
export class VerifyCall {
  readonly path = `/${METHOD}`;
  readonly #options: VerifyCallOptions;
  /** In their wire form: those that are thrown again, as where there is too much to do, are made once. */
  readonly #refusals = new WeakMap<object, ConnectError>();

  constructor(options: VerifyCallOptions) {
    this.#options = options;
  }

  /** Notes the call; returns its id for the answer's `x-request-id`. */
  enter(call: Call, askedId: string | null): string {
    return this.#options.gate.enter(call, askedId);
  }

  /** Finds out who calls; undefined if that was known from memory. Throws or rejects with a ConnectError, logged. */
  admit(call: Call, authorization: string | null): Promise<void> | undefined {
    return this.#options.gate.admit({ method: METHOD, call, authorization });
  }

  /**
   * Answers at once from memory, else later; in both cases the message comes after `prefix` bytes. Throws or rejects
   * with a ConnectError, logged. A body that cannot be decoded throws the decoder's error, not logged.
   */
  answer(body: Buffer, call: Call, prefix: number): Buffer | Promise<Buffer> {
    const plain = decodePlainly(body, prefix);
    const request = plain !== undefined && isPlainQuestion(plain) ? plain : this.#read(body.subarray(prefix), call);
    try {
      const metered = this.#options.verifier.verifyCached(toCommand(request), askerOf(call, "fast"));
      if (metered === undefined) return this.#answerSlowly(request, call, prefix);
      this.#options.callLog.verified(METHOD, call, metered.decision.verdict);
      return encodeVerification(metered, prefix);
    } catch (error) {
      throw this.#refuse(error, call);
    }
  }

  /** The call ended in an error of the transport: before its request was read, or while it was being answered. */
  abandoned(call: Call, error: ConnectError): void {
    this.#options.callLog.refused(METHOD, call, error);
  }

  /**
   * Reads a request that is not plain with protobuf-es and validates it; it may have fields that this server does not
   * know.
   */
  #read(bytes: Uint8Array, call: Call): VerifyRequest {
    const request = fromBinary(VerifyRequestSchema, bytes);
    try {
      this.#options.validate(request);
      return request;
    } catch (error) {
      throw this.#refuse(error, call);
    }
  }

  async #answerSlowly(request: PlainRequest, call: Call, prefix: number): Promise<Buffer> {
    try {
      const metered = await this.#options.verifier.verify(toCommand(request), askerOf(call, "fast"));
      this.#options.callLog.verified(METHOD, call, metered.decision.verdict);
      return encodeVerification(metered, prefix);
    } catch (error) {
      throw this.#refuse(error, call);
    }
  }

  #refuse(error: unknown, call: Call) {
    const { log, callLog } = this.#options;
    const known = error instanceof ClavigerError ? this.#refusals.get(error) : undefined;
    const refusal = known ?? presentError(error, log, call.requestId);
    if (error instanceof ClavigerError) this.#refusals.set(error, refusal);
    callLog.refused(METHOD, call, refusal);
    return refusal;
  }
}
