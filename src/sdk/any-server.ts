import { type Client, Code, ConnectError, createClient, type Interceptor } from "@connectrpc/connect";
import { createGrpcTransport, type GrpcTransportOptions, Http2SessionManager } from "@connectrpc/connect-node";
import { KeyVerifier, type VerifyRequest } from "#gen/claviger/v1/key_verifier_pb.js";
import type { Verification } from "./verification.ts";
import { fromResponse, undecided } from "./wire.ts";

/** Options of Node's HTTP/2 connections, such as certificates. */
export type NodeOptions = NonNullable<GrpcTransportOptions["nodeOptions"]>;

export interface AnyServerOptions {
  readonly interceptors: Interceptor[];
  readonly nodeOptions: NodeOptions | undefined;
  /** Milliseconds that a call to one server may take. */
  readonly timeoutMs: number;
}

interface Server {
  readonly client: Client<typeof KeyVerifier>;
  readonly connection: Http2SessionManager;
}

/** An idle connection is asked whether it still leads anywhere, before it is used again. In milliseconds. */
const PING_AFTER_MS = 10_000;

/** What another server may be able to decide. */
const ELSEWHERE: ReadonlySet<Code> = new Set([
  ...[Code.Unavailable, Code.DeadlineExceeded, Code.Internal, Code.Unknown, Code.Aborted, Code.ResourceExhausted],
]);

/** Whether it could not be decided, so that another server may be able to. */
export function isUndecided(error: unknown): boolean {
  return error instanceof ConnectError && ELSEWHERE.has(error.code);
}

/** Verifies by calls, on the first server that can decide; the one that did is asked first the next time. */
export class AnyServer {
  readonly #servers: readonly Server[];
  readonly #timeoutMs: number;
  #first = 0;

  constructor(urls: readonly string[], { interceptors, nodeOptions, timeoutMs }: AnyServerOptions) {
    this.#timeoutMs = timeoutMs;
    this.#servers = urls.map((baseUrl) => {
      const connection = new Http2SessionManager(baseUrl, { pingIntervalMs: PING_AFTER_MS }, nodeOptions);
      const transport = createGrpcTransport({ baseUrl, interceptors, sessionManager: connection });
      return { client: createClient(KeyVerifier, transport), connection };
    });
  }

  get count(): number {
    return this.#servers.length;
  }

  /** Throws a ConnectError, `UNAVAILABLE` if no server could decide. */
  async verify(request: VerifyRequest): Promise<Verification> {
    let last: unknown;
    for (let turn = 0; turn < this.#servers.length; turn++) {
      const at = (this.#first + turn) % this.#servers.length;
      try {
        const response = await this.#servers[at]?.client.verify(request, { timeoutMs: this.#timeoutMs });
        if (response === undefined) continue;
        this.#first = at;
        return fromResponse(response);
      } catch (error) {
        if (!isUndecided(error)) throw error;
        last = error;
      }
    }
    if (last instanceof ConnectError && last.code === Code.Unavailable && last.details.length > 0) throw last;
    throw undecided("STORAGE_UNAVAILABLE", "no server of Claviger could decide. Retry in a moment", last);
  }

  close(): void {
    for (const { connection } of this.#servers) connection.abort();
  }
}
