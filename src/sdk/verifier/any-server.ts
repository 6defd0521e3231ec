import { type Client, Code, ConnectError, createClient, type Interceptor } from "@connectrpc/connect";
import { createGrpcTransport, type GrpcTransportOptions, Http2SessionManager } from "@connectrpc/connect-node";
import { KeyVerifier, type VerifyRequest } from "#gen/claviger/v1/key_verifier_pb.js";
import type { Clocks } from "../../system/clocks.ts";
import { NoSecretError } from "../attach/watched-file.ts";
import type { Verification } from "../verification.ts";
import { heedErrors } from "./idle-sessions.ts";
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

/** An idle connection is asked whether it still leads anywhere, before it is used again. In milliseconds. */
const PING_AFTER_MS = 10_000;

/** Bytes of one message from a server: as much as gRPC's libraries take. */
export const LONGEST_MESSAGE_BYTES = 4 * 1024 * 1024;

/** gRPC sends a timeout in eight digits at most. */
const LONGEST_TIMEOUT_MS = 99_999_999;

/**
 * What every server of one cluster would say alike. Any other error is about a server, or about what stands in its place:
 * also `CANCEL`, with which Node (26) ends the calls of a connection that its server closes. No call is cancelled here.
 */
const ALIKE: ReadonlySet<Code> = new Set([Code.Unauthenticated, Code.PermissionDenied, Code.InvalidArgument]);

/** Whether it could not be decided, so that another server may be able to. */
export function isUndecided(error: unknown): boolean {
  return error instanceof ConnectError && !ALIKE.has(error.code);
}

/** Verifies by calls, on the first server that can decide; the one that did is asked first the next time. */
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
        sessionManager: heedErrors(connection),
        readMaxBytes: LONGEST_MESSAGE_BYTES,
      });
      return { client: createClient(KeyVerifier, transport), connection };
    });
  }

  get count(): number {
    return this.#servers.length;
  }

  /**
   * Each server has an even share of the time that is left.
   *
   * @throws ConnectError `UNAVAILABLE` if no server could decide within that time; with reason `VERIFIER_MISCONFIGURED`
   * and without `RetryInfo` if that is so until the set-up is corrected
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
        // What may pass is what counts: one server may come back while the address of another is wrong.
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

/** No server was asked: the verifier itself has no key to call with, as with a key file that is missing. */
function noKey(cause: NoSecretError): ConnectError {
  return unasked(troubleOf(cause), cause);
}
