import { isIP } from "node:net";
import { withoutIpv4Prefix } from "../../system/addresses.ts";
import type { Question } from "../verification.ts";
import { askFunction, BOOLEAN, SCOPES, TEXT } from "../verifier/check-options.ts";
import type { MethodAccess } from "./access.ts";
import type { Credential } from "./credential.ts";
import type { KeyOptions } from "./key-options.ts";

/** A call that arrives at a guard. */
export interface Arrival<Call> {
  readonly call: Call;
  /** An object that all guards of this call share with no other call: each guard leaves its result there for the next. */
  readonly carrier: object;
  /** Removes the key from the headers. Not called if an earlier guard has removed it. */
  readonly takeCredential: () => Credential;
  /** `/package.Service/Method`, if it has one. */
  readonly method: () => string | undefined;
  /** The address at the other end of the connection. */
  readonly peer: string | undefined;
  /** The requirements of the method, where the options do not state them. */
  readonly access: () => MethodAccess;
}

export function questionOf<Call>(options: KeyOptions<Call>, arrival: Arrival<Call>): Question {
  const { call, peer } = arrival;
  const method = arrival.method();
  const ask = options.clientIp;
  const clientIp = clientIpOf(ask === undefined ? peer : askFunction("clientIp", { ask, call, rule: TEXT }));
  return {
    scopes: accessOfCall(options, arrival).scopes,
    environment: options.environment ?? "live",
    ...(method !== undefined && { method }),
    ...(clientIp !== undefined && { clientIp }),
  };
}

/**
 * The requirements of the call: those of the options, and where they state none, those of the method.
 *
 * @throws TypeError if a function of the options returns a wrong value, which must not count as "no requirement"
 */
export function accessOfCall<Call>(options: KeyOptions<Call>, { call, access }: Arrival<Call>): MethodAccess {
  const anonymous = askFunction("anonymous", { ask: options.anonymous, call, rule: BOOLEAN });
  // A call that needs no key is also let in with any good key.
  if (anonymous === true) return { scopes: [], anonymous };
  const scopes = askFunction("scopes", { ask: options.scopes, call, rule: SCOPES });
  if (scopes !== undefined && anonymous !== undefined) return { scopes, anonymous };
  const declared = access();
  return { scopes: scopes ?? declared.scopes, anonymous: anonymous ?? declared.anonymous };
}

/**
 * The address for a question: IPv4-mapped addresses as IPv4, IPv6 without its zone, both without a port
 * (`192.0.2.1:443`, `[2001:db8::1]:443`). Undefined for a text that is not an address, such as a whole
 * `x-forwarded-for`; keys that are bound to addresses are then denied.
 */
export function clientIpOf(text: string | undefined): string | undefined {
  if (text === undefined) return undefined;
  const withoutPort = text.replace(/^\[(.*)\](:\d{1,5})?$/, "$1").replace(/^(\d+\.\d+\.\d+\.\d+):\d{1,5}$/, "$1");
  const address = withoutIpv4Prefix(withoutPort).replace(/%.*$/, "");
  return isIP(address) === 0 ? undefined : address;
}
