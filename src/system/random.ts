/** The only source of randomness: returns that many bytes, fit for secrets. */
export type Random = (byteCount: number) => Uint8Array;
