import type { Timers } from "../../system/clocks.ts";
import type { AskedEnvironment, Verifier } from "../verification.ts";
import {
  checkOptions,
  ENVIRONMENT,
  FUNCTION,
  MILLISECONDS,
  OBJECT,
  type Rule,
  type Rules,
} from "../verifier/check-options.ts";

/** Options of every `requireKey`. `Call` is the framework's view of a call, without its key. */
export interface KeyOptions<Call> {
  /**
   * Returns the scopes that the key must hold for this call, all of them; at most 64, without `*`. If it returns
   * undefined, and by default: the scopes of the method's `option (claviger.v1.access)`, if there are methods; else none.
   */
  readonly scopes?: (call: Call) => readonly string[] | undefined;
  /**
   * Returns whether this call may come without a key, such as a health check. A key that is sent must still be good. If
   * it returns undefined, and by default: as for `scopes`.
   */
  readonly anonymous?: (call: Call) => boolean | undefined;
  /**
   * The keys that are let in: keys for real use, keys for tests, or both. Default `live`: test keys are shared freely in
   * tests and demonstrations, and must not open a service that does not expect them. Keys are live unless they are created
   * for tests, so that the default refuses test keys only; the refusal names this option.
   */
  readonly environment?: AskedEnvironment;
  /**
   * Returns the caller's address, for keys that are bound to addresses; a port after it is ignored. A text that is not an
   * IPv4 or IPv6 address counts as unknown, and such keys are then denied. Default: the other end of the connection.
   * Behind a proxy, return the address from a header that the proxy sets and callers cannot set.
   */
  readonly clientIp?: (call: Call) => string | undefined;
  /**
   * Called with the reason when a key could not be checked: an outage, the verifier's own token, a wrong scope, an error
   * of `scopes`. Callers see `UNAVAILABLE` or `INTERNAL` without the reason. Default: `process.emitWarning` for `INTERNAL`,
   * once for each message; outages go to `onWarning` of the verifier.
   */
  readonly onUndecided?: (cause: unknown) => void;
}

/** Options for the keys of streams. */
export interface StreamOptions {
  /**
   * Milliseconds between two verifications of a stream's key. Default 60,000: a stream outlives its key by a minute at
   * most.
   */
  readonly reverifyMs?: number;
  /**
   * Milliseconds for which a stream goes on although its key cannot be checked; then it ends with `UNAVAILABLE`. Default
   * 60,000: a restart of the server or of its database ends no stream. A stream may thus outlive its key by `reverifyMs`
   * and this time together.
   */
  readonly undecidedMs?: number;
  /** Default: Node's timers, which do not keep the process alive. */
  readonly timers?: Timers;
}

export const KEY_RULES: Rules<KeyOptions<never>> = {
  scopes: { right: "a function that returns an array of scopes", holds: FUNCTION.holds },
  anonymous: { right: "a function that returns true or false", holds: FUNCTION.holds },
  environment: ENVIRONMENT,
  clientIp: { right: "a function that returns an address", holds: FUNCTION.holds },
  onUndecided: FUNCTION,
};

export const STREAM_RULES: Rules<StreamOptions> = {
  reverifyMs: MILLISECONDS,
  undecidedMs: MILLISECONDS,
  timers: OBJECT,
};

const VERIFIER: Rule = {
  right: "what createVerifier() returned",
  holds: (value) =>
    OBJECT.holds(value) &&
    FUNCTION.holds((value as Partial<Verifier>).verify) &&
    FUNCTION.holds((value as Partial<Verifier>).verifySync),
};

/** @throws TypeError for a wrong verifier or option, which could otherwise let every call in */
export function checkKeyOptions<Options extends object>(
  where: string,
  { verifier, options }: { readonly verifier: Verifier; readonly options: Options },
  rules: Rules<Options>,
): void {
  if (!VERIFIER.holds(verifier)) throw new TypeError(`${where}: the verifier is missing. Pass ${VERIFIER.right} first`);
  checkOptions(where, options, rules);
}
