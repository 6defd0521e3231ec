import { type Client, Code, ConnectError, createClient, type Interceptor } from "@connectrpc/connect";
import { createGrpcTransport, type GrpcTransportOptions, Http2SessionManager } from "@connectrpc/connect-node";
import { KeyVerifier, type VerifyRequest } from "#gen/claviger/v1/key_verifier_pb.js";
import type { Clocks } from "../../system/clocks.ts";
import { NoSecretError } from "../attach/watched-file.ts";
import type { Verification } from "../verification.ts";
import { handleErrors } from "./idle-sessions.ts";
import { type Trouble, troubleOf } from "./trouble.ts";
import { fromResponse, unasked } from "./wire.ts";

/** Options of Node's HTTP/2 connections, such as certificates. */
export type NodeOptions = NonNullable<GrpcTransportOptions["nodeOptions"]>;

export interface AnyServerOptions {
  readonly interceptors: Interceptor[];
  readonly nodeOptions: NodeOptions | undefined;
  readonly clocks: Pick<Clocks, "monotonicMs">;
}

interface Server {
  readonly client: Client<typeof KeyVerifier>;
  readonly connection: Http2SessionManager;
}

/** Milliseconds after which an idle connection is checked by a ping before it is used again. */
const PING_AFTER_MS = 10_000;

/** Limit on the bytes of one message from a server: the default of gRPC's libraries. */
export const LONGEST_MESSAGE_BYTES = 4 * 1024 * 1024;

/** A timeout of gRPC has at most eight digits. */
const LONGEST_TIMEOUT_MS = 99_999_999;

/**
 * Codes that every server of one cluster would return alike. Any other error is about one server, or about a program at
 * its address. This includes `CANCEL`, with which Node 26 ends the calls of a connection that its server closes: no call
 * is cancelled here.
 */
const SAME_EVERYWHERE: ReadonlySet<Code> = new Set([Code.Unauthenticated, Code.PermissionDenied, Code.InvalidArgument]);

/** Whether the server could not decide, so that another server may. */
export function isUndecided(error: unknown): boolean {
  return error instanceof ConnectError && !SAME_EVERYWHERE.has(error.code);
}

/** Verifies by calls, on the first server that can decide. The next call starts with that server. */
export class AnyServer {
  readonly #urls: readonly string[];
  readonly #servers: readonly Server[];
  readonly #clocks: AnyServerOptions["clocks"];
  #first = 0;

  constructor(urls: readonly string[], { interceptors, nodeOptions, clocks }: AnyServerOptions) {
    this.#clocks = clocks;
    this.#urls = urls;
    this.#servers = urls.map((baseUrl) => {
      const connection = new Http2SessionManager(baseUrl, { pingIntervalMs: PING_AFTER_MS }, nodeOptions);
      const transport = createGrpcTransport({
        baseUrl,
        interceptors,
        sessionManager: handleErrors(connection),
        readMaxBytes: LONGEST_MESSAGE_BYTES,
      });
      return { client: createClient(KeyVerifier, transport), connection };
    });
  }

  get count(): number {
    return this.#servers.length;
  }

  /**
   * Gives each server an even share of the time that is left.
   *
   * @throws ConnectError `UNAVAILABLE` if no server could decide within that time; with reason `VERIFIER_MISCONFIGURED`
   * and without `RetryInfo` if the set-up must be corrected
   */
  async verify(request: VerifyRequest, withinMs: number): Promise<Verification> {
    const endMs = this.#clocks.monotonicMs() + withinMs;
    let last: unknown;
    let worst: Trouble | undefined;
    for (let turn = 0; turn < this.#servers.length; turn++) {
      const at = (this.#first + turn) % this.#servers.length;
      const url = this.#urls[at];
      try {
        const leftMs = (endMs - this.#clocks.monotonicMs()) / (this.#servers.length - turn);
        const timeoutMs = Math.min(LONGEST_TIMEOUT_MS, Math.max(1, Math.ceil(leftMs)));
        const response = await this.#servers[at]?.client.verify(request, { timeoutMs });
        if (response === undefined) continue;
        this.#first = at;
        return fromResponse(response);
      } catch (error) {
        if (error instanceof ConnectError && error.cause instanceof NoSecretError) throw noKey(error.cause);
        if (!isUndecided(error)) throw error;
        last = error;
        // A cause that may pass outweighs a permanent one: one server may come back while the address of another is wrong.
        const trouble = troubleOf(error, url);
        if (worst === undefined || worst.isPermanent) worst = trouble;
      }
    }
    if (last instanceof ConnectError && last.code === Code.Unavailable && last.details.length > 0) throw last;
    throw unasked(worst ?? troubleOf(last), last);
  }

  close(): void {
    for (const { connection } of this.#servers) connection.abort();
  }
}

/** No server was asked, because the verifier has no key of its own, for example without its key file. */
function noKey(cause: NoSecretError): ConnectError {
  return unasked(troubleOf(cause), cause);
}
