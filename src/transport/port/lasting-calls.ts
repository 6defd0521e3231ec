import { constants, type ServerHttp2Stream } from "node:http2";
import { FairShares } from "../../rpc/fair-shares.ts";

/** Where a call comes from. */
export interface CallSource {
  readonly address: string;
  readonly connection: object;
}

/**
 * The HTTP/2 calls that stay open. A call holds memory while it waits for its request, and a client without a
 * credential can open calls and send nothing more. Where there are too many, addresses have fair shares, and so have
 * the connections of one address. Calls that are answered before the next check of connections do not count.
 */
export class LastingCalls {
  readonly #most: number;
  readonly #byAddress = new FairShares<ServerHttp2Stream>();
  readonly #byConnection = new FairShares<ServerHttp2Stream>();
  readonly #names = new WeakMap<object, string>();
  #lastName = 0;

  constructor(most: number) {
    this.#most = most;
  }

  /** Notes a call that is open. If there are too many, ends it, or one that takes more than a fair share. */
  note(call: ServerHttp2Stream, { address, connection }: CallSource): void {
    if (this.#byAddress.has(call) || call.destroyed || call.closed) return;
    const name = this.#nameOf(connection);
    this.#byAddress.add(address, call);
    this.#byConnection.add(name, call);
    if (this.#byAddress.size <= this.#most) return;
    const displaced = this.#byAddress.displacedFor(address) ?? this.#byConnection.displacedFor(name) ?? call;
    this.delete(displaced);
    displaced.close(constants.NGHTTP2_CANCEL);
    // Node (26) would wait for the rest of a request that was read in part, for good.
    setImmediate(() => displaced.destroy());
  }

  delete(call: ServerHttp2Stream): void {
    this.#byAddress.delete(call);
    this.#byConnection.delete(call);
  }

  #nameOf(connection: object): string {
    const known = this.#names.get(connection);
    if (known !== undefined) return known;
    this.#lastName += 1;
    const name = String(this.#lastName);
    this.#names.set(connection, name);
    return name;
  }
}
