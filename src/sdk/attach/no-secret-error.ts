/** There is no secret to call with. The message ends with what to do, and repeats nothing of what was read. */
export class NoSecretError extends Error {
  override readonly name = "NoSecretError";
}
