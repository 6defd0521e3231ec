/** What the environment says of where Claviger is, and as whom to call it. An empty variable counts as unset. */
export function readEnvironment(): { readonly url: string | undefined; readonly token: string | undefined } {
  const { CLAVIGER_URL, CLAVIGER_TOKEN } = process.env;
  return { url: CLAVIGER_URL || undefined, token: CLAVIGER_TOKEN || undefined };
}
