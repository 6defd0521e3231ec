/** The server, or a command that works on its database, cannot start; the message is complete and says what to do. */
export class StartupError extends Error {
  override readonly name = "StartupError";
}
