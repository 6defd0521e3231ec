/**
 * Returns W in milliseconds: the wait by the revoker's clock after which a lease of `termMs` is over by the verifier's
 * clock. The rate of each clock may differ from true time by ε (docs/protocol/revocation.md#r10).
 */
export function waitingTime(termMs: number, clockRateError: number): number {
  return (termMs * (1 + clockRateError)) / (1 - clockRateError);
}
