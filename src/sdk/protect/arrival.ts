import { isIP } from "node:net";
import type { Question } from "../verification.ts";
import { askFunction, BOOLEAN, SCOPES, TEXT } from "../verifier/check-options.ts";
import type { MethodAccess } from "./access.ts";
import type { Credential } from "./credential.ts";
import type { KeyOptions } from "./key-options.ts";

/** A call at a guard. */
export interface Arrival<Call> {
  readonly call: Call;
  /** What every guard of this call sees, and no other call: what one guard has found is remembered there for the next. */
  readonly carrier: object;
  /** Takes the key out of the headers. Not called if an earlier guard has taken it. */
  readonly takeCredential: () => Credential;
  /** `/package.Service/Method`, if it has one. */
  readonly method: () => string | undefined;
  /** The address at the other end of the connection, as text. */
  readonly peer: string | undefined;
  /** What the method asks, where the options do not say it. */
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
 * What the call is asked: what the options say of it, and where they are silent, what its method does.
 *
 * @throws TypeError if a function of the options returns a wrong value, which must not count as "nothing is asked"
 */
export function accessOfCall<Call>(options: KeyOptions<Call>, { call, access }: Arrival<Call>): MethodAccess {
  const anonymous = askFunction("anonymous", { ask: options.anonymous, call, rule: BOOLEAN });
  // Whoever may come without a key may come with any.
  if (anonymous === true) return { scopes: [], anonymous };
  const scopes = askFunction("scopes", { ask: options.scopes, call, rule: SCOPES });
  if (scopes !== undefined && anonymous !== undefined) return { scopes, anonymous };
  const declared = access();
  return { scopes: scopes ?? declared.scopes, anonymous: anonymous ?? declared.anonymous };
}

/**
 * Reads the address that a question names: IPv4 also when it came IPv4-mapped, IPv6 without its zone, either without a
 * port (`192.0.2.1:443`, `[2001:db8::1]:443`). Undefined for a text that is no address, such as a whole
 * `x-forwarded-for`: keys that are bound to addresses are then denied.
 */
export function clientIpOf(text: string | undefined): string | undefined {
  const address = text
    ?.replace(/^\[(.*)\](:\d{1,5})?$/, "$1")
    .replace(/^(\d+\.\d+\.\d+\.\d+):\d{1,5}$/, "$1")
    .replace(/^::ffff:(?=\d+\.)/i, "")
    .replace(/%.*$/, "");
  return address !== undefined && isIP(address) !== 0 ? address : undefined;
}
