/**
 * W: how long a revoker waits, by its own clock, until a lease of `termMs` is over by the verifier's, if their rates
 * differ from true time by at most ε each (docs/protocol/revocation.md#r10). In milliseconds.
 */
export function waitingTime(termMs: number, clockRateError: number): number {
  return (termMs * (1 + clockRateError)) / (1 - clockRateError);
}
