const advice: Readonly<Record<string, string>> = {
  EADDRINUSE: "another program listens there: stop it, or choose another port",
  EACCES: "this user may not listen there: choose a port from 1024 up",
  EADDRNOTAVAIL: "this machine does not have that address: choose one of its own, such as 127.0.0.1",
  ENOTFOUND: "that host name has no address: choose an address of this machine, such as 127.0.0.1",
  EAI_AGAIN: "that host name cannot be looked up: choose an address of this machine, such as 127.0.0.1",
  ERR_SOCKET_BAD_PORT: "the port is out of range: choose one from 0 to 65535",
};

/** Why an address cannot be listened on, and what to do. The system's error is the `cause`. */
export function listenError(address: { readonly host: string; readonly port: number }, cause: unknown): Error {
  const code = cause instanceof Error && "code" in cause ? String(cause.code) : "unknown error";
  const what = advice[code] ?? `${code}: choose another address`;
  return new Error(`cannot listen on ${address.host}:${address.port}: ${what}`, { cause });
}
