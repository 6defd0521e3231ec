import type { Timers } from "../verify/clocks.ts";

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
   * The address of whoever calls, for keys that are bound to addresses. What is no IPv4 or IPv6 address counts as not
   * known, and such keys are denied then. Default: the other end of the connection; behind a proxy, say it here, from a
   * header that the proxy sets and callers cannot.
   */
  readonly clientIp?: (call: Call) => string | undefined;
  /**
   * Told why a key could not be checked: an outage, the verifier's own token, a rule that a scope breaks, what `scopes`
   * threw. Callers see `UNAVAILABLE` or `INTERNAL` without it. Default: nobody is told.
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
