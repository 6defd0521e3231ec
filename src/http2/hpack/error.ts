/** A header block that breaks RFC 7541: a connection error of type COMPRESSION_ERROR. Its message quotes no header. */
export class HpackError extends Error {
  override readonly name = "HpackError";
}
