import type { SecureClientSessionOptions } from "node:http2";
import { type Client, ConnectError, createClient, type Interceptor } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { KeyManagement } from "#gen/claviger/v1/key_management_pb.js";
import { KeyVerifier } from "#gen/claviger/v1/key_verifier_pb.js";
import { Health } from "#gen/grpc/health/v1/health_pb.js";
import { DEFAULT_URL } from "../system/addresses.ts";
import { callError } from "./call-error.ts";
import { usageError } from "./cli-error.ts";
import { readProfile } from "./input/profiles.ts";
import { readToken } from "./input/read-secret.ts";
import type { Endpoint, ServerOptions } from "./input/server-options.ts";
import type { Shell } from "./shell.ts";

/** Methods that change nothing. */
const READS = /^(Get|List|Query|Verify|Check)/;

/** The services of one server. */
export interface Connection {
  readonly management: Client<typeof KeyManagement>;
  readonly verifier: Client<typeof KeyVerifier>;
  readonly health: Client<typeof Health>;
}

/**
 * Calls a server over gRPC, with the caller's credential if there is one, and hangs up afterwards.
 *
 * @throws CliError for a wrong address or credential, and for every call that fails
 */
export async function withConnection(
  shell: Shell,
  options: ServerOptions,
  use: (connection: Connection) => Promise<void>,
): Promise<void> {
  const { url, token, profileUrl } = options.endpoint ?? (await findEndpoint(shell, options));
  // Node hands the signal to the socket. Without it a connection that is still being made outlives the deadline, and
  // keeps the process for minutes; `Http2SessionManager.abort()` of connect-node 2.2 does not end such a one.
  const hangUp = new AbortController();
  const nodeOptions: SecureClientSessionOptions & { signal: AbortSignal } = { signal: hangUp.signal };
  let mayHaveChanged = false;
  const noteChange: Interceptor = (next) => (request) => {
    mayHaveChanged ||= !READS.test(request.method.name);
    return next(request);
  };
  const transport = createGrpcTransport({
    baseUrl: url,
    nodeOptions,
    defaultTimeoutMs: options.timeout,
    interceptors: [noteChange, ...(token === undefined ? [] : [withBearer(token)])],
  });
  try {
    await use({
      management: createClient(KeyManagement, transport),
      verifier: createClient(KeyVerifier, transport),
      health: createClient(Health, transport),
    });
  } catch (error) {
    if (!(error instanceof ConnectError)) throw error;
    throw callError(error, { url, timeoutMs: options.timeout, command: shell.command, mayHaveChanged, profileUrl });
  } finally {
    hangUp.abort();
  }
}

/**
 * Where to call, and as whom: by flags and variables, or else by a profile. The credential of a profile only goes to the
 * profile's own address.
 */
async function findEndpoint(shell: Shell, options: ServerOptions): Promise<Endpoint> {
  const given = options.url ?? (shell.environment.CLAVIGER_URL || undefined);
  const token = await readToken(shell.environment);
  const profile = token === undefined ? await readProfile(shell) : undefined;
  const url = serverUrl(given ?? profile?.url);
  if (profile === undefined) return { url, token };
  const profileUrl = serverUrl(profile.url);
  return profileUrl === url ? { url, token: profile.token } : { url, token: undefined, profileUrl };
}

/**
 * Reads an address. An empty one counts as unset, as a shell script would mean it.
 *
 * @throws CliError that says the form
 */
export function serverUrl(text: string | undefined): string {
  if (text === undefined || text === "") return DEFAULT_URL;
  const url = URL.parse(text);
  const ok =
    url !== null &&
    (url.protocol === "http:" || url.protocol === "https:") &&
    url.username === "" &&
    url.password === "";
  if (!ok) throw usageError(`the server's address (--url, or CLAVIGER_URL) is not one: write it as ${DEFAULT_URL}`);
  return url.href.replace(/\/$/, "");
}

function withBearer(token: string): Interceptor {
  return (next) => (request) => {
    request.header.set("authorization", `Bearer ${token}`);
    return next(request);
  };
}
