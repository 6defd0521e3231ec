/** The one source of chance: returns that many bytes fit for secrets. */
export type Random = (byteCount: number) => Uint8Array;
