/** Milliseconds of this machine's monotonic clock: one and the same in every process on it. */
export function hostMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}
