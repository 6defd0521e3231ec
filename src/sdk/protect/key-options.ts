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

/** What every way of requiring keys can be told. `Call` is whatever the framework knows of a call, without its key. */
export interface KeyOptions<Call> {
  /**
   * Scopes that the key must hold for this call, all of them; at most 64, without `*`. Where it says undefined, and by
   * default: what the method's `option (claviger.v1.access)` says, where there are methods; otherwise none.
   */
  readonly scopes?: (call: Call) => readonly string[] | undefined;
  /**
   * Whether this call may come without a key, such as one of a health check. A key that comes all the same must be good.
   * Where it says undefined, and by default: as for `scopes`.
   */
  readonly anonymous?: (call: Call) => boolean | undefined;
  /**
   * Which keys are let in: those for real use, those for trying things out, or both. Default `live`: test keys are handed out
   * freely, in tests and demonstrations, and must not open a service that does not expect them. Keys are live unless they
   * are made otherwise, so that this refuses nobody who did not ask for a test key; the refusal says what to set.
   */
  readonly environment?: AskedEnvironment;
  /**
   * The caller's address, for keys that are bound to addresses; a port after it is ignored. A text that is no IPv4 or
   * IPv6 address counts as not known, and such keys are then denied. Default: the other end of the connection. Behind a
   * proxy, take it from a header that the proxy sets and callers cannot.
   */
  readonly clientIp?: (call: Call) => string | undefined;
  /**
   * Gets the reason when a key could not be checked: an outage, the verifier's own token, a rule that a scope breaks, an
   * error that `scopes` threw. Callers see `UNAVAILABLE` or `INTERNAL` without the reason. Default: `process.emitWarning` for
   * `INTERNAL`, once for each message; `onWarning` of the verifier is told of outages.
   */
  readonly onUndecided?: (cause: unknown) => void;
}

/** How keys are watched while a stream lasts. */
export interface StreamOptions {
  /**
   * Milliseconds after which the key of a stream is verified again, and again. Default 60,000: a verdict is for one call,
   * and a minute is as long as a stream may outlive its key.
   */
  readonly reverifyMs?: number;
  /**
   * Milliseconds for which a stream goes on though its key cannot be checked; then it ends with `UNAVAILABLE`. Default
   * 60,000: a restart of the server, or of its database, should end no stream. A key may thus be dead for `reverifyMs`
   * and this together.
   */
  readonly undecidedMs?: number;
  /** Default: Node's, which do not keep the process alive. */
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

/** @throws TypeError for a verifier or an option that is wrong: without this a door could stand open */
export function checkKeyOptions<Options extends object>(
  where: string,
  { verifier, options }: { readonly verifier: Verifier; readonly options: Options },
  rules: Rules<Options>,
): void {
  if (!VERIFIER.holds(verifier)) throw new TypeError(`${where}: the verifier is missing. Pass ${VERIFIER.right} first`);
  checkOptions(where, options, rules);
}
