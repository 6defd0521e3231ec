import type { Verifier } from "../verification.ts";
import type { Credential } from "./credential.ts";
import type { Principal } from "./principal.ts";

/** What the earlier `requireKey`s of one call have found. The first of them takes the key out of the headers. */
export interface PassedGates {
  readonly credential: Credential & { readonly kind: "secret" };
  /** The verifiers that let the call in, each with its last answer. Each has charged the call once. */
  readonly admitted: Map<Verifier, Principal>;
}

const PASSED: unique symbol = Symbol("claviger passed gates");

interface Carrier {
  [PASSED]?: PassedGates;
}

/** @param carrier an object that every `requireKey` of one call sees, and no other call ever does, such as Node's request */
export function passedGates(carrier: object): PassedGates | undefined {
  return (carrier as Carrier)[PASSED];
}

/** Remembers the key of a call. Not enumerable: logs of the request do not show it. */
export function rememberPassed(carrier: object, passed: PassedGates): void {
  Object.defineProperty(carrier, PASSED, { value: passed, configurable: true });
}
