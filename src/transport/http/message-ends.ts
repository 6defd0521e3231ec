/** Flags and length before each message. */
export const PREFIX_BYTES = 5;

/** Finds where messages end in a body in which each has a prefix of its length, as in gRPC, gRPC-Web and Connect streams. */
export class MessageEnds {
  /** Bytes read of the current prefix. */
  #prefixBytes = 0;
  #length = 0;
  /** Bytes of the message that are yet to come; 0 while its prefix is being read. */
  #left = 0;

  /** For a body of this type; undefined if its messages have no prefixes. */
  static in(contentType = ""): MessageEnds | undefined {
    const hasPrefixes = contentType.startsWith("application/grpc") || contentType.startsWith("application/connect+");
    return hasPrefixes ? new MessageEnds() : undefined;
  }

  /** The places in the chunk at which a message ends. */
  of(chunk: Uint8Array): number[] {
    const ends: number[] = [];
    let at = 0;
    while (at < chunk.length) {
      if (this.#left > 0) {
        const taken = Math.min(this.#left, chunk.length - at);
        at += taken;
        this.#left -= taken;
        if (this.#left === 0) ends.push(at);
        continue;
      }
      // The first byte holds flags.
      if (this.#prefixBytes > 0) this.#length = this.#length * 256 + (chunk[at] ?? 0);
      at += 1;
      this.#prefixBytes += 1;
      if (this.#prefixBytes < PREFIX_BYTES) continue;
      if (this.#length === 0) ends.push(at);
      this.#left = this.#length;
      this.#prefixBytes = 0;
      this.#length = 0;
    }
    return ends;
  }
}
